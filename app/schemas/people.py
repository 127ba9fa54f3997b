"""Wire forms of what administrators see and change: accounts, and invitations to make one."""

from datetime import datetime

from pydantic import BaseModel, Field

from app.core.statuses import Role
from app.schemas.auth import Email, UserForm
from app.schemas.common import EXAMPLE_ID, Input

MAX_INVITATION_SECONDS = 30 * 86_400


class Person(UserForm):
    """An account, as administrators see it."""

    active: bool = Field(description="False: closed. Nobody can sign in to it.")


class PersonChanges(Input):
    """What is to change; what is not sent stays."""

    role: Role | None = Field(default=None, examples=[Role.OPERATOR])
    active: bool | None = Field(
        default=None, description="False closes the account: its tokens and API keys end at once."
    )


class InvitationDraft(Input):
    """Whom to invite, and as what."""

    email: Email | None = Field(
        default=None,
        description="Only this address may accept. Unset: whoever has the token.",
        examples=["bob@example.com"],
    )
    role: Role = Field(default=Role.MEMBER, description="What the account will be.")
    expires_in_seconds: int = Field(
        default=7 * 86_400, ge=60, le=MAX_INVITATION_SECONDS, description="30 days at most."
    )


class InvitationForm(BaseModel):
    """An invitation that nobody has accepted, without its token."""

    id: str = Field(examples=[EXAMPLE_ID])
    email: str | None
    role: Role
    invited_by: str = Field(description="The administrator's id.", examples=[EXAMPLE_ID])
    created_at: datetime
    expires_at: datetime


class NewInvitation(InvitationForm):
    """An invitation with its token, which is shown this once."""

    token: str = Field(
        description="Goes as `invitation` into `POST /api/v1/register`. It cannot be shown again.",
        examples=["inv_6y0…"],
    )
