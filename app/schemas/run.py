"""Wire forms of runs, their steps, attempts and logs, and of what starts them."""

from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel, Field

from app.core.statuses import AttemptStatus, RunStatus, StepStatus, TriggerKind
from app.engine.controls.control import Action
from app.schemas.common import EXAMPLE_ID, Input
from app.schemas.context import RunContext
from app.schemas.hook import HookCallForm, ParentForm

OUTPUT = 'JSON; a large one is told as `{"$artifact": {"sha256", "bytes", "url"}}`: GET its `url` (with your token).'
CONTEXT = (
    "`assumptions`, `data_scope` and `legal_basis` of the run; null when it was started without."
)
LogLevel = Literal["debug", "info", "warning", "error"]
MAX_VERSION = 2_147_483_647


class RunRequest(Input):
    """What to start a run with."""

    input: Any = Field(
        default={},
        description="What the definition reads as `input`: any JSON.",
        examples=[{"order_id": "A-1001"}],
    )
    version: int | None = Field(
        default=None, ge=1, le=MAX_VERSION, description="Null: the newest version.", examples=[None]
    )
    context: RunContext | None = Field(
        default=None,
        description="On what grounds it is started. What is left out comes from the workflow's `context.defaults`.",
        examples=[None],
    )


class TriggerReceipt(BaseModel):
    """The run that a trigger started, or had started before."""

    run_id: str = Field(examples=[EXAMPLE_ID])
    status: RunStatus = Field(description="Where the run stands.", examples=["queued"])
    duplicate: bool = Field(
        description="True: this trigger was seen before; the run is the first one.",
        examples=[False],
    )


class RunReceipt(TriggerReceipt):
    """The run that was started."""

    id: str = Field(description="The same as `run_id`.", examples=[EXAMPLE_ID])
    workflow_id: str = Field(examples=[EXAMPLE_ID])


class EndedReceipt(TriggerReceipt):
    """The run that a trigger started and waited for."""

    output: Any = Field(description=OUTPUT)
    error: Any = Field(description="Why it failed; else null.")


class EndedRunReceipt(RunReceipt, EndedReceipt):
    """The run that was started, and has ended."""


class RunSummary(BaseModel):
    """A run without its input, output and steps."""

    id: str = Field(examples=[EXAMPLE_ID])
    workflow_id: str = Field(examples=[EXAMPLE_ID])
    version: int = Field(description="The version that it runs, to its end.", examples=[1])
    status: RunStatus
    trigger: TriggerKind
    started_by: str | None = Field(
        description="Who started it, or the run that it is part of, by hand, by a schedule or by an event of theirs; null for other triggers.",
        examples=["ada@example.com"],
    )
    error: Any = Field(description="Why it failed; else null.")
    waiting_for: Any = Field(
        description="What a waiting or paused run waits for, and what a run asks that has paused itself; else null."
    )
    replay_of: str | None = Field(description="The run that it repeats; else null.")
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None


class StepForm(BaseModel):
    """What became of a step in a run, told from its attempts."""

    path: str = Field(description="The step's id; with `[index]` in loops.", examples=["step_1"])
    type: str = Field(description="Its node type.", examples=["http_request_node"])
    status: StepStatus
    attempts: int = Field(description="How many attempts have begun.", examples=[1])
    started_at: datetime | None
    finished_at: datetime | None
    output: Any = Field(description=OUTPUT)
    error: Any


class ChildForm(BaseModel):
    """A run that this one has started."""

    run_id: str = Field(examples=[EXAMPLE_ID])
    workflow_id: str = Field(examples=[EXAMPLE_ID])
    step: str | None = Field(
        description="Path of the step that did; null: the end of the run did, by a hook.",
        examples=["ship"],
    )
    status: RunStatus


class ControlForm(BaseModel):
    """The last pause, resume, cancel or retry of a run."""

    action: Action
    by: str = Field(description="A user's e-mail address, or the part of the platform that did it.")
    at: datetime
    reason: str | None


class RunForm(RunSummary):
    """A run with everything that happened in it so far."""

    input: Any
    output: Any = Field(description=OUTPUT)
    context: Any = Field(description=CONTEXT)
    control: ControlForm | None = Field(
        description="Who paused, resumed, cancelled or retried it last, when and why; null: nobody has."
    )
    steps: list[StepForm] = Field(description="In order of their start.")
    parent: ParentForm | None = Field(description="The run that has started this one.")
    children: list[ChildForm] = Field(
        description="The runs that it has started, in order; the first 1,000 at most."
    )
    hook_calls: list[HookCallForm] = Field(
        description="URLs that are called because it has ended, and hooks that could not be started."
    )


class AttemptForm(BaseModel):
    """One try at a step."""

    attempt: int = Field(description="Counted from 1; 0 stands for a step that was skipped.")
    type: str
    status: AttemptStatus
    superseded: bool = Field(
        default=False,
        description="True: history only; the step was retried, and the run goes on without what came of this attempt.",
    )
    started_at: datetime | None
    finished_at: datetime | None
    retry_at: datetime | None = Field(description="When the next attempt is due, if there is one.")
    input: Any = Field(
        description="The step's config after its expressions; what looks like a credential is `***`."
    )
    wait: Any = Field(description="What it waits for, or has waited for; else null.")
    output: Any = Field(description=OUTPUT)
    error: Any


class LogForm(BaseModel):
    """A line that a step wrote."""

    step: str = Field(description="The step's path.", examples=["step_1"])
    attempt: int
    level: LogLevel
    message: str
    data: Any
    at: datetime
    context: Any = Field(description=CONTEXT)
