"""Wire forms of what people do to runs: pause, resume, cancel, retry and replay them."""

from typing import Annotated, Literal, Self

from pydantic import BaseModel, Field, model_validator

from app.core.statuses import RunStatus
from app.schemas.common import EXAMPLE_ID, Input, ObjectId, UtcTime
from app.schemas.run import RunReceipt

MAX_BULK = 1_000
MAX_BULK_RETRIES = 200
"""Retrying a run takes a look through all of its steps."""
Reason = Annotated[
    str | None,
    Field(max_length=1_000, description="Why; kept with the run.", examples=["Wrong customer"]),
]


class ControlRequest(Input):
    """Why somebody pauses, resumes, cancels or retries."""

    reason: Reason = None


class ReplayRequest(Input):
    """How to run it again."""

    version: Literal["same", "latest"] = Field(
        default="same",
        description="Which version of the workflow: the one that the run has executed, or its newest one.",
    )
    from_step: str | None = Field(
        default=None,
        max_length=500,
        description="Path of the step to start from: steps that do not come after it keep their results. Null: run it all. Where decisions of people would be kept, for the owner and editors of the owning team.",
        examples=["charge"],
    )


class BulkRequest(Input):
    """Which runs; everything that is given must fit, and something must be given."""

    workflow_id: ObjectId | None = Field(default=None, description="Only runs of this one.")
    status: RunStatus | None = Field(default=None, description="Only runs that stand here.")
    since: UtcTime | None = Field(
        default=None,
        description="Only runs accepted at this time or later.",
        examples=["2026-11-01T00:00:00Z"],
    )
    until: UtcTime | None = Field(
        default=None,
        description="Only runs accepted before this time.",
        examples=["2026-11-02T00:00:00Z"],
    )
    ids: list[ObjectId] | None = Field(
        default=None,
        min_length=1,
        max_length=MAX_BULK,
        description="Only these runs.",
        examples=[[EXAMPLE_ID]],
    )
    reason: Reason = None

    @model_validator(mode="after")
    def _not_empty(self) -> Self:
        given = (self.workflow_id, self.status, self.since, self.until, self.ids)
        if all(value is None for value in given):
            raise ValueError(
                "Name at least one of `workflow_id`, `status`, `since`, `until` and `ids`"
            )
        return self


class BulkReceipt(BaseModel):
    """What was done. Runs whose state does not allow it are passed over."""

    matched: int = Field(
        description=f"How many runs fit and stand where this can be done; at once, at most {MAX_BULK:,} are cancelled and "
        f"{MAX_BULK_RETRIES} retried.",
        examples=[2],
    )
    changed: int = Field(description="For how many it was done.", examples=[2])
    run_ids: list[str] = Field(description="Which these are.", examples=[[EXAMPLE_ID]])
    more: bool = Field(
        description="True: more runs fit than are taken at once; send it again.", examples=[False]
    )


class ReplayReceipt(RunReceipt):
    """The new run."""

    replay_of: str = Field(description="The run that it repeats.", examples=[EXAMPLE_ID])
