"""The shape of a definition as people write it; `definition.py` checks what it means."""

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

MAX_STEPS = 500
MAX_TIMEOUT_SECONDS = 30 * 86_400
DEFAULT_STEP_TIMEOUT_SECONDS = 300.0

StepId = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_-]{0,99}$")]


class _Shape(BaseModel):
    model_config = ConfigDict(extra="forbid")


class RetryShape(_Shape):
    """How often a step is tried, and how long to wait in between."""

    max_attempts: int = Field(default=3, ge=1, le=100)
    initial_delay_seconds: float = Field(default=1.0, ge=0, le=86_400)
    max_delay_seconds: float = Field(default=300.0, ge=0, le=86_400)
    multiplier: float = Field(default=2.0, ge=1, le=100)
    jitter: float = Field(default=0.0, ge=0, le=1)


class StepShape(_Shape):
    """One step. Without an `id` it is named by its position: `step_1`, `step_2` …"""

    type: str = Field(min_length=1, max_length=100)
    id: StepId | None = None
    config: dict[str, Any] = Field(default_factory=dict)
    retry: RetryShape | None = None
    timeout_seconds: float = Field(
        default=DEFAULT_STEP_TIMEOUT_SECONDS, gt=0, le=MAX_TIMEOUT_SECONDS
    )


class DefinitionShape(_Shape):
    """A list of steps that run from top to bottom."""

    steps: list[StepShape] = Field(min_length=1, max_length=MAX_STEPS)
    inputs: dict[str, Any] | None = None
    timeout_seconds: float | None = Field(default=None, gt=0, le=MAX_TIMEOUT_SECONDS)
