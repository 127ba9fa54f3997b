"""Wire forms of accounts and tokens."""

from datetime import datetime
from typing import Annotated, Literal

from email_validator import EmailNotValidError, validate_email
from pydantic import AfterValidator, BaseModel, Field

from app.core.security.passwords import MAX_PASSWORD_CHARACTERS, MIN_PASSWORD_CHARACTERS
from app.core.statuses import Role
from app.schemas.common import EXAMPLE_ID, Input

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


class Registration(Input):
    """A new account."""

    email: Email = Field(description="Also the name to log in with.", examples=["ada@example.com"])
    password: Password = Field(
        description="8 to 1,024 characters.", examples=["correct horse battery"]
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
