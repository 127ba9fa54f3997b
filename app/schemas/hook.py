"""Wire forms of hooks: what the engine calls when a run has ended."""

from datetime import datetime
from typing import Annotated, Any, Self

from pydantic import BaseModel, BeforeValidator, Field, model_validator

from app.schemas.common import EXAMPLE_ID, Input

MAX_HOOKS = 5


class Hook(Input):
    """A workflow to run, a URL to call, or both."""

    workflow: str | None = Field(
        default=None,
        min_length=1,
        max_length=200,
        description="Id or name of one of your workflows; its input is `{event, run}`.",
        examples=["Tell the team"],
    )
    url: str | None = Field(
        default=None,
        min_length=1,
        max_length=2000,
        description="Gets a POST with `{event, run}` as JSON, again and again until it answers 2xx: eight tries at most.",
        examples=["https://example.com/runs"],
    )

    @model_validator(mode="after")
    def _something(self) -> Self:
        if self.workflow is None and self.url is None:
            raise ValueError("Give a `workflow`, a `url`, or both.")
        return self


def _listed(value: Any) -> Any:
    if value is None:
        return []
    return [value] if isinstance(value, dict) else value


_Several = Annotated[list[Hook], Field(max_length=MAX_HOOKS)]
Hooks = Annotated[_Several, BeforeValidator(_listed, json_schema_input_type=Hook | _Several | None)]
ON_SUCCESS = "What the engine calls when a run has succeeded: one hook, a list of them, or null."
ON_FAILURE = (
    "What the engine calls when a run has failed or timed out: one hook, a list of them, or null."
)


class HookCallForm(BaseModel):
    """A call that the engine makes because the run has ended, or a hook that it could not start."""

    url: str = Field(
        description="What is called; `workflow:…` stands for a workflow that could not be run.",
        examples=["https://example.com/runs"],
    )
    tries: int = Field(description="How often it was tried.", examples=[1])
    next_try_at: datetime | None = Field(description="Null: answered, or given up.")
    answered_at: datetime | None
    last_error: str | None


class ParentForm(BaseModel):
    """The run that has started this one."""

    run_id: str = Field(examples=[EXAMPLE_ID])
    step: str | None = Field(
        description="Path of the step that did; null: the end of the run did, by a hook.",
        examples=["ship"],
    )
