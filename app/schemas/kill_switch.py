"""Wire forms of kill switches."""

from datetime import datetime
from typing import Annotated

from pydantic import BaseModel, Field, StringConstraints

from app.core.as_sent import NOT_BLANK
from app.core.statuses import SwitchMode, SwitchScope
from app.schemas.common import EXAMPLE_ID, Input, UtcTime

MAX_REASON = 500
TARGET = (
    "What is stopped: the id of a `team`, `user` (or their e-mail address) or `workflow`, the name of a `node_type`, the "
    "name or id of a `credential`; null for `all`."
)
MODE = (
    "`drain`: nothing new starts, what has begun goes on to its end. `halt`: the next step of what has begun does not start "
    "either. Of a node type or a credential, both keep its steps from starting."
)
Reason = Annotated[
    str,
    StringConstraints(min_length=1, max_length=MAX_REASON, strip_whitespace=True),
    NOT_BLANK,
    Field(
        description="Whoever is stopped by it reads this.", examples=["The CRM is being migrated"]
    ),
]


class KillSwitchDraft(Input):
    """What to stop."""

    scope: SwitchScope = Field(examples=["node_type"])
    target: Annotated[str, StringConstraints(max_length=320)] | None = Field(
        default=None, description=TARGET, examples=["http_request_node"]
    )
    mode: SwitchMode = Field(description=MODE, examples=["halt"])
    reason: Reason
    expires_at: UtcTime | None = Field(
        default=None, description="When it is lifted by itself; null: never.", examples=[None]
    )


class KillSwitchForm(BaseModel):
    """A kill switch that is set, or was."""

    id: str = Field(examples=[EXAMPLE_ID])
    scope: SwitchScope
    target: str | None = Field(description=TARGET)
    mode: SwitchMode = Field(description=MODE)
    reason: str
    active: bool = Field(description="Whether it stops anything now.")
    created_by: str = Field(description="E-mail address of who has set it, or `command line`.")
    created_at: datetime
    expires_at: datetime | None
    lifted_at: datetime | None
    lifted_by: str | None = Field(
        description="Who has lifted it; null with a `lifted_at`: its time was up."
    )


class GlobalSwitchForm(BaseModel):
    """Whether the whole platform is stopped."""

    enabled: bool
    kill_switches: list[KillSwitchForm] = Field(description="Those by which it is; mostly one.")
