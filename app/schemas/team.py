"""Wire forms of teams, of what is shared, and of who owns what."""

import re
import unicodedata
from datetime import datetime
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BaseModel, Field, StringConstraints, model_validator

from app.core.as_sent import NOT_BLANK
from app.core.ids import parse_id
from app.core.permissions import TeamRole
from app.schemas.auth import Email
from app.schemas.common import EXAMPLE_ID, Input

EXAMPLE_EMAIL = "bob@example.com"


def team_key(name: str) -> str:
    """Return a name as it is compared: teams that differ in case only are one."""
    return name.casefold()


def _team_name(text: str) -> str:
    name = unicodedata.normalize("NFC", text)
    if not _NAME.fullmatch(name):
        raise ValueError(
            "has to begin with a letter or digit: after it, spaces, `.`, `_` and `-` may stand too"
        )
    if parse_id(name) is not None:
        raise ValueError("looks like an id: take a name")
    return name


_NAME = re.compile(r"[^\W_][\w .-]*")
TeamName = Annotated[
    str,
    StringConstraints(strip_whitespace=True, min_length=1, max_length=100),
    AfterValidator(_team_name),
    NOT_BLANK,
]
TEAM_NAME = "Letters, digits, spaces and `.`, `_`, `-`. Nobody else's, now or earlier, in whatever case: approvals name `team:<name>`. Whoever deleted a team may use its names again."
TeamText = Annotated[
    str, StringConstraints(strip_whitespace=True, min_length=1, max_length=100), NOT_BLANK
]
SharedRole = Literal[TeamRole.VIEWER, TeamRole.RUNNER, TeamRole.EDITOR]


class TeamDraft(Input):
    """A team to make, or another name for one."""

    name: TeamName = Field(description=TEAM_NAME, examples=["Finance"])


class TeamForm(BaseModel):
    """A team that I am in."""

    id: str = Field(examples=[EXAMPLE_ID])
    name: str = Field(examples=["Finance"])
    role: TeamRole = Field(description="Mine.", examples=["owner"])
    created_at: datetime


class MemberRole(Input):
    """What a member may do with what the team owns."""

    role: TeamRole = Field(
        description="`viewer` reads, `runner` also starts and controls runs, `editor` also saves and changes workflows and "
        "schedules, `owner` also deletes, shares and transfers workflows and says who is in the team.",
        examples=["editor"],
    )


class MemberForm(BaseModel):
    """Somebody in a team."""

    email: str = Field(examples=[EXAMPLE_EMAIL])
    role: TeamRole = Field(examples=["editor"])


class OwnerForm(BaseModel):
    """Who owns something."""

    kind: Literal["user", "team"] = Field(examples=["team"])
    id: str = Field(examples=[EXAMPLE_ID])
    name: str = Field(
        description="A user's e-mail address, or a team's name.", examples=["Finance"]
    )


class Grantee(Input):
    """A person or a team."""

    user: Email | None = Field(
        default=None, description="Their e-mail address.", examples=[EXAMPLE_EMAIL]
    )
    team: TeamText | None = Field(default=None, description="Its id or name.")

    @model_validator(mode="after")
    def _is_one(self) -> Self:
        if (self.user is None) == (self.team is None):
            raise ValueError("Give either `user` or `team`.")
        return self


class ShareDraft(Grantee):
    """Whom to share a workflow with."""

    role: SharedRole = Field(
        description="`viewer` reads it and its runs, `runner` also starts and controls them, `editor` also changes it.",
        examples=["runner"],
    )


class ShareForm(BaseModel):
    """Somebody whom a workflow is shared with."""

    grantee: OwnerForm
    role: TeamRole = Field(examples=["runner"])
    created_at: datetime


class TransferRequest(Input):
    """Who is to own a workflow."""

    owner: Email | None = Field(
        default=None, description="A person's e-mail address.", examples=[EXAMPLE_EMAIL]
    )
    team: TeamText | None = Field(
        default=None, description="A team's id or name; I must be at least `editor` there."
    )

    @model_validator(mode="after")
    def _is_one(self) -> Self:
        if (self.owner is None) == (self.team is None):
            raise ValueError("Give either `owner` or `team`.")
        return self


class TransferReceipt(BaseModel):
    """Whose a workflow is now."""

    id: str = Field(description="The workflow's.", examples=[EXAMPLE_ID])
    owner: OwnerForm
    enabled: bool = Field(
        description="False until its new owner enables it, where that is another person."
    )
