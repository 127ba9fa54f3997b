"""The planner: a plan and what is recorded of a run, in; what happens next, out. It touches nothing."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from app.core.statuses import AttemptStatus, RunStatus
from app.engine.language.plan import Edge, Plan
from app.engine.planning.record import Record, StepState


@dataclass(frozen=True, slots=True)
class Start:
    """A step instance that starts now, and the number of this attempt."""

    path: str
    attempt: int


@dataclass(frozen=True, slots=True)
class Wait:
    """A step that is parked until a time."""

    path: str
    kind: str
    until: datetime


@dataclass(frozen=True, slots=True)
class End:
    """The run is over."""

    status: RunStatus
    output: Any = None
    error: dict[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Decision:
    """What happens next. With an `end`, nothing starts; with neither `start` nor anything running, the run waits."""

    start: tuple[Start, ...] = ()
    skip: tuple[str, ...] = ()
    waits: tuple[Wait, ...] = ()
    end: End | None = None


def decide(plan: Plan, record: Record, now: datetime, deadline: datetime | None = None) -> Decision:
    """Return what happens next in a run: which steps start or are skipped, what it waits for, whether it is over."""
    if deadline is not None and now >= deadline:
        return Decision(end=End(RunStatus.TIMED_OUT, error=_timed_out(plan)))
    skip = tuple(_skipped(plan, record))
    failed = next((state for state in record.values() if state.failed), None)
    start = () if failed else tuple(_starts(plan, record, frozenset(skip), now))
    waits = () if failed else tuple(_waits(record, now))
    if start or waits or any(state.status is AttemptStatus.RUNNING for state in record.values()):
        return Decision(start, skip, waits)
    if failed:
        return Decision(
            end=End(RunStatus.FAILED, error={**(failed.error or {}), "step": failed.path})
        )
    return Decision(skip=skip, end=End(RunStatus.SUCCEEDED, output=_output(plan, record)))


def _skipped(plan: Plan, record: Record) -> Iterator[str]:
    """Yield steps all of whose edges are settled and untaken; their own edges are untaken in turn."""
    dead: set[str] = set()
    for step, edges in plan.incoming.items():
        if edges and step not in record and all(_untaken(edge, record, dead) for edge in edges):
            dead.add(step)
            yield step


def _untaken(edge: Edge, record: Record, dead: set[str]) -> bool:
    source = record.get(edge.source)
    return edge.source in dead or (
        source is not None and source.settled and not _taken(edge, record)
    )


def _taken(edge: Edge, record: Record) -> bool:
    source = record.get(edge.source)
    return (
        source is not None and source.status is AttemptStatus.SUCCEEDED and source.port == edge.port
    )


def _starts(plan: Plan, record: Record, skip: frozenset[str], now: datetime) -> Iterator[Start]:
    for step, edges in plan.incoming.items():
        state = record.get(step)
        if state is not None:
            if state.retry_at is not None and state.retry_at <= now:
                yield Start(step, state.attempt + 1)
        elif step not in skip and _ready(edges, record, skip):
            yield Start(step, 1)


def _ready(edges: tuple[Edge, ...], record: Record, skip: frozenset[str]) -> bool:
    """Tell whether every edge is settled and at least one was taken (a step without edges is ready at once)."""
    settled = all(_taken(edge, record) or _untaken(edge, record, set(skip)) for edge in edges)
    return settled and (not edges or any(_taken(edge, record) for edge in edges))


def _waits(record: Record, now: datetime) -> Iterator[Wait]:
    for state in record.values():
        if state.retry_at is not None and state.retry_at > now:
            yield Wait(state.path, "retry", state.retry_at)


def _output(plan: Plan, record: Record) -> Any:
    if len(plan.ends) == 1:
        done = [state for state in record.values() if state.status is AttemptStatus.SUCCEEDED]
        return max(done, key=_finish_order).output if done else None
    return {step: record[step].output for step in plan.ends if step in record}


def _finish_order(state: StepState) -> tuple[float, int]:
    return (state.finished_at.timestamp() if state.finished_at else 0.0, state.seq)


def _timed_out(plan: Plan) -> dict[str, Any]:
    return {
        "code": "run_timed_out",
        "message": f"The run took longer than its timeout_seconds ({plan.timeout_seconds:g}).",
    }
