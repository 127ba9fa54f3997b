"""Wire forms of events."""

from datetime import datetime
from typing import Annotated, Any

from pydantic import BaseModel, Field, StringConstraints

from app.engine.sdk import CorrelationId, EventType
from app.schemas.common import EXAMPLE_ID, Input
from app.schemas.team import TeamText

EventId = Annotated[str, StringConstraints(min_length=1, max_length=200)]


class EventDraft(Input):
    """An event to publish."""

    type: EventType = Field(
        description="What has happened; workflows name the same type.",
        examples=["payment.received"],
    )
    correlation_id: CorrelationId | None = Field(
        default=None,
        description="Ties it to the runs that wait for it; a number counts as its text.",
        examples=["A-1001"],
    )
    payload: Any = Field(default=None, description="Any JSON.", examples=[{"amount": 42}])
    id: EventId | None = Field(
        default=None,
        description="Your own id: a second event with it changes nothing. Unset: one of ours.",
        examples=["pay_123"],
    )
    team: TeamText | None = Field(
        default=None,
        description="Publish it as this team's (id or name; `runner` there is needed): its workflows see it. Unset: as mine.",
        examples=[None],
    )


class EventRefusal(BaseModel):
    """A workflow that begins with events of this type, and that this one could not start."""

    workflow_id: str = Field(examples=[EXAMPLE_ID])
    code: str = Field(
        description="`missing_context`, `filter_failed` or `event_loop`.",
        examples=["missing_context"],
    )
    detail: str = Field(
        description="Why, and how to mend it.",
        examples=[
            "The workflow requires `legal_basis`, which an event cannot give: set its `context.defaults`."
        ],
    )


class EventReceipt(BaseModel):
    """What became of an event."""

    id: str = Field(description="The id that you gave, or one of ours.", examples=["pay_123"])
    duplicate: bool = Field(
        description="True: an event with this id was stored before; this one changed nothing.",
        examples=[False],
    )
    woken: int = Field(description="How many waiting steps it has resumed at once.", examples=[1])
    started: list[str] = Field(
        description="The runs that it has started at once.", examples=[[EXAMPLE_ID]]
    )
    refused: list[EventRefusal] = Field(
        description="The workflows that it should have started, and why it could not.",
        examples=[[]],
    )


class EventForm(BaseModel):
    """An event that is remembered."""

    id: str = Field(description="The publisher's own id, or one of ours.", examples=["pay_123"])
    type: str = Field(examples=["payment.received"])
    correlation_id: str | None = Field(examples=["A-1001"])
    payload: Any = Field(examples=[{"amount": 42}])
    received_at: datetime
    expires_at: datetime | None = Field(
        description="When it is forgotten; null in the moment before it is first looked at."
    )
    consumed_at: datetime | None = Field(
        description="When it resumed waiting steps; null: it is kept for one."
    )
    woken: int = Field(description="How many waiting steps it has resumed.", examples=[1])
