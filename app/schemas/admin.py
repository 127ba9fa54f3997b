"""Wire forms for operators."""

from datetime import datetime
from typing import Literal

from pydantic import BaseModel, Field

from app.core.statuses import RunStatus
from app.schemas.kill_switch import KillSwitchForm


class WorkerForm(BaseModel):
    """A worker process whose lease stands."""

    id: str
    host: str
    pid: int
    started_at: datetime
    runs: int = Field(description="Runs that it holds.")


class Processed(BaseModel):
    """What became of the newest runs."""

    seconds: int = Field(description="Of the runs that were accepted in so many seconds up to now.")
    accepted: int = Field(description="How many there are.")
    ended: dict[RunStatus, int] = Field(description="How many of them are over, by status.")


class PlatformStatus(BaseModel):
    """What the platform does right now, told from the database and the queue."""

    mode: Literal["normal", "drain", "halt"] = Field(
        description="`drain`, `halt`: what the global kill switch does; `normal`: it is not set."
    )
    kill_switches: list[KillSwitchForm] = Field(
        description="Those that are set, newest first; 200 at most."
    )
    held: int = Field(description="Paused runs that go on once the kill switch is lifted.")
    at: datetime = Field(description="When the database was asked; up to two seconds ago.")
    runs: dict[RunStatus, int] = Field(description="Runs that are not over, by status.")
    queue_depth: int = Field(description="Runs that no worker holds yet.")
    queue_hints: int = Field(
        description="Hints in Redis, each for up to 200 runs; 0 when it does not answer."
    )
    oldest_queued_seconds: float = Field(
        description="How long the oldest run has waited for its first worker."
    )
    workers: list[WorkerForm] = Field(description="Those that are alive, oldest first.")
    processed: Processed
