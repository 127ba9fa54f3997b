"""Wire forms of accounts and tokens."""

from datetime import datetime
from typing import Annotated, Literal

from email_validator import EmailNotValidError, validate_email
from pydantic import AfterValidator, BaseModel, Field

from app.core.permissions import Scope
from app.core.security.passwords import MAX_PASSWORD_CHARACTERS, MIN_PASSWORD_CHARACTERS
from app.core.security.shown_once import MAX_SECRET_CHARACTERS
from app.core.statuses import Role
from app.schemas.common import EXAMPLE_ID, Input, UtcTime

MAX_EMAIL_CHARACTERS = 320


def normal_email(text: str) -> str:
    """Return an address as it is stored and compared.

    Raises:
        ValueError: it is no address.
    """
    try:
        found = validate_email(text, check_deliverability=False, test_environment=True)
    except EmailNotValidError as error:
        raise ValueError(f"is no e-mail address: {str(error).rstrip(chr(46))}") from None
    return found.normalized.lower()


def login_name(text: str) -> str:
    """Return a name to log in with as registration stored it; what is no address stays as it is."""
    name = text.strip()[:MAX_EMAIL_CHARACTERS]
    try:
        return normal_email(name)
    except ValueError:
        return name


Email = Annotated[str, Field(max_length=MAX_EMAIL_CHARACTERS), AfterValidator(normal_email)]
Password = Annotated[
    str, Field(min_length=MIN_PASSWORD_CHARACTERS, max_length=MAX_PASSWORD_CHARACTERS)
]


SecretText = Annotated[str, Field(min_length=1, max_length=MAX_SECRET_CHARACTERS)]


class Registration(Input):
    """A new account."""

    email: Email = Field(description="Also the name to log in with.", examples=["ada@example.com"])
    password: Password = Field(
        description="8 to 1,024 characters.", examples=["correct horse battery"]
    )
    invitation: SecretText | None = Field(
        default=None,
        description="The token of an invitation, which is used up: needed while registration is closed.",
        examples=[None],
    )


class PasswordChange(Input):
    """The old password, and the one to use from now on."""

    current_password: str = Field(max_length=MAX_PASSWORD_CHARACTERS)
    new_password: Password = Field(description="8 to 1,024 characters.")


class UserForm(BaseModel):
    """An account."""

    id: str = Field(examples=[EXAMPLE_ID])
    email: str = Field(examples=["ada@example.com"])
    role: Role = Field(description="The first account is `admin`, later ones are `member`.")
    created_at: datetime


class AccessToken(BaseModel):
    """A token to send as `Authorization: Bearer <access_token>`."""

    access_token: str
    token_type: Literal["bearer"] = "bearer"
    expires_in: int = Field(description="Seconds until it expires.", examples=[3600])
    refresh_token: str = Field(
        description="Gets the next access token, once: `POST /api/v1/token/refresh`.",
        examples=["rt_bYxK0c5x…"],
    )
    refresh_expires_in: int = Field(
        description="Seconds until the refresh token expires, unless it is used.",
        examples=[2592000],
    )


class RefreshRequest(Input):
    """The newest refresh token of a session."""

    refresh_token: SecretText


class LogoutRequest(Input):
    """The session to end; unset: the one of the access token."""

    refresh_token: SecretText | None = None


class SessionForm(BaseModel):
    """A sign-in that is still open."""

    id: str = Field(examples=[EXAMPLE_ID])
    current: bool = Field(description="It is the one that this request belongs to.")
    address: str | None = Field(description="Where it was begun from.", examples=["203.0.113.7"])
    user_agent: str | None = Field(description="What it was begun with.", examples=["Mozilla/5.0"])
    created_at: datetime
    refreshed_at: datetime
    expires_at: datetime


class ApiKeyDraft(Input):
    """A key to be made."""

    name: str = Field(
        min_length=1, max_length=200, description="What it is for.", examples=["CI of the shop"]
    )
    scopes: list[Scope] = Field(
        min_length=1,
        max_length=len(Scope),
        description="What it may do: no more than you may.",
        examples=[[Scope.WORKFLOWS_READ, Scope.RUNS_WRITE]],
    )
    expires_at: UtcTime | None = Field(
        default=None, description="Unset: it counts until it is deleted.", examples=[None]
    )


class ApiKeyForm(BaseModel):
    """A key, without its text."""

    id: str = Field(examples=[EXAMPLE_ID])
    name: str
    scopes: list[str] = Field(description="A scope that your role loses is lost to the key too.")
    created_at: datetime
    expires_at: datetime | None
    last_used_at: datetime | None = Field(description="To within a minute or so.")


class NewApiKey(ApiKeyForm):
    """A key with its text, which is shown this once."""

    key: str = Field(
        description="Send it as `X-API-Key`. It cannot be shown again.",
        examples=["ak_019aa4c26f107c3e9d523b1f7a8e4c11_6y0…"],
    )
