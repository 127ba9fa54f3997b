"""The shape of a definition as people write it; `definition.py` checks what it means."""

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from app.core.errors import Problem
from app.engine.language.problems import existing_path, from_validation

MAX_STEPS = 500
MAX_NESTING = 10
MAX_TIMEOUT_SECONDS = 30 * 86_400
DEFAULT_STEP_TIMEOUT_SECONDS = 300.0

STEP_ID = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,99}")


def _check_step_id(value: str) -> str:
    if not STEP_ID.fullmatch(value):
        raise ValueError(
            "must begin with a letter or _ and hold only letters, digits, _ and -, 100 at most"
        )
    return value


StepId = Annotated[str, AfterValidator(_check_step_id)]


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
    depends_on: list[str] | None = Field(default=None, max_length=MAX_STEPS)
    join: Literal["all", "any"] = "all"
    when: str | None = None
    on_error: Literal["fail", "continue"] = "fail"
    retry: RetryShape | None = None
    timeout_seconds: float = Field(
        default=DEFAULT_STEP_TIMEOUT_SECONDS, gt=0, le=MAX_TIMEOUT_SECONDS
    )
    steps: list[Any] | None = Field(default=None, min_length=1, max_length=MAX_STEPS)


class SurfaceShape(_Shape):
    """What both surfaces have."""

    inputs: dict[str, Any] | None = None
    timeout_seconds: float | None = Field(default=None, gt=0, le=MAX_TIMEOUT_SECONDS)


class DefinitionShape(SurfaceShape):
    """A list of steps: each runs after the one above, or after those that its `depends_on` names."""

    steps: list[Any] = Field(min_length=1, max_length=MAX_STEPS)


class EdgeShape(_Shape):
    """The way from one node to another; `port` and `condition` say when it is taken."""

    source: str
    target: str
    port: str | None = None
    condition: str | None = None


class GraphShape(SurfaceShape):
    """Nodes and edges. Edges may lead back: then they are a loop."""

    nodes: list[Any] = Field(min_length=1, max_length=MAX_STEPS)
    edges: list[Any] = Field(default_factory=list, max_length=10 * MAX_STEPS)
    start_node: str


Shape = TypeVar("Shape", bound=BaseModel)


def read(shape: type[Shape], raw: Any, at: str = "") -> tuple[Shape, list[Problem]]:
    """Return what can be read of a part of a definition, and what cannot, so that the rest is still checked.

    Fields that do not fit are left at their defaults; required ones are then missing from the shape.
    """
    try:
        return shape.model_validate(raw), []
    except ValidationError as error:
        problems = [
            Problem(at + found.pointer, found.code, found.detail)
            for found in from_validation(error, shape, raw)
        ]
        if not isinstance(raw, Mapping):
            return shape.model_construct(), problems
        paths = [existing_path(fault, raw) for fault in error.errors(include_url=False)]
        bad = {path[0] for path in paths if path}
        kept = {
            name: value
            for name, value in raw.items()
            if name in shape.model_fields and name not in bad
        }
        return shape.model_construct(**kept), problems
