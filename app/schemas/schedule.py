"""Wire forms of schedules."""

from datetime import datetime
from typing import Annotated, Any

from pydantic import BaseModel, Field, StringConstraints

from app.core.statuses import Misfire
from app.schemas.common import EXAMPLE_ID, Input

Cron = Annotated[
    str,
    StringConstraints(min_length=1, max_length=200),
    Field(
        description="Minute, hour, day of month, month, day of week; or `@hourly`, `@daily`, `@weekly`, `@monthly`, `@yearly`.",
        examples=["0 9 * * mon-fri"],
    ),
]
TimeZone = Annotated[
    str,
    StringConstraints(max_length=64),
    Field(description="A name of the IANA database.", examples=["Europe/Berlin"]),
]
RunInput = Annotated[
    Any,
    Field(
        description='The input of each run. Null: `{"scheduled_at", "schedule_id"}`, the fire time and this schedule.',
        examples=[{"report": "daily"}],
    ),
]
MISFIRE = (
    "About fire times that passed by more than a minute while no worker was there: `skip` them, or start one run `once` for "
    "all of them."
)


class ScheduleDraft(Input):
    """When to start a workflow."""

    cron: Cron
    timezone: TimeZone = "UTC"
    input: RunInput = None
    misfire: Misfire = Field(default=Misfire.SKIP, description=MISFIRE)
    enabled: bool = Field(default=True, description="A disabled schedule does not fire.")


class ScheduleChanges(Input):
    """What to change; everything else stays."""

    cron: Cron = ""
    timezone: TimeZone = "UTC"
    input: RunInput = None
    misfire: Misfire = Field(default=Misfire.SKIP, description=MISFIRE)
    enabled: bool = Field(default=True, description="A disabled schedule does not fire.")


class ScheduleForm(BaseModel):
    """A schedule, and when it fires."""

    id: str = Field(examples=[EXAMPLE_ID])
    workflow_id: str = Field(examples=[EXAMPLE_ID])
    cron: str = Field(examples=["0 9 * * mon-fri"])
    timezone: str = Field(examples=["Europe/Berlin"])
    input: Any = Field(description="The input of each run; null: the fire time.")
    misfire: Misfire = Field(description=MISFIRE)
    enabled: bool
    next_fire_at: datetime | None = Field(description="Null: it is disabled, or has ended.")
    next_fire_times: list[datetime] = Field(description="The next five, from now on.")
    last_fire_at: datetime | None = Field(description="The last fire time that started a run.")
    last_run_id: str | None = Field(description="The run that it started.", examples=[EXAMPLE_ID])
    last_error: str | None = Field(
        description="Why the last fire time started no run; null when it did."
    )
    created_at: datetime
    updated_at: datetime
