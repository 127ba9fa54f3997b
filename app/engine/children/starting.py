"""Make the runs that steps have ordered, in the commit of their attempts' results."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection

from app.core.statuses import AttemptStatus, TriggerKind
from app.engine import store
from app.engine.attempt.context import cut
from app.engine.checkpoint import Checkpoint, RunFacts
from app.engine.events.faults import LINE_OF_THE_ENGINE
from app.engine.intake import NewRun, Refused
from app.engine.planning.record import StepState
from app.engine.planning.transitions import Failed, resolution_of
from app.engine.waiting.ending import WaitEnd, end_waits

Unborn = tuple[Checkpoint, StepState, Refused]
"""Whose child was refused, at which attempt, and why."""


def child_run(parent_id: str, path: str, facts: RunFacts, order: Mapping[str, Any]) -> NewRun:
    """Return the run that a step has ordered. Its id was made with the order, so that written twice it is one run."""
    return NewRun(
        owner_id=facts.owner_id,
        workflow_id=order["workflow_id"],
        version_id=order["version_id"],
        version=order["version"],
        trigger=TriggerKind.RUN,
        input=order["input"],
        idempotency_key=f"run:{order['id']}",
        context=order["context"],
        id=order["id"],
        depth=facts.depth + 1,
        parent_run_id=parent_id,
        parent_path=path,
        started_by=facts.started_by,
    )


def refuse_children(connection: Connection, refused: Sequence[Unborn], now: datetime) -> None:
    """Fail the steps that would wait for runs which no policy lets in; one that does not wait has a line in its log."""
    waiting = [one for one in refused if one[1].status is AttemptStatus.WAITING]
    ends = [
        WaitEnd(
            checkpoint.run_id,
            state.path,
            state.attempt,
            resolution_of(Failed(answer.code, answer.detail, again=_may_pass(answer))),
        )
        for checkpoint, state, answer in waiting
    ]
    if ends:
        end_waits(connection, ends, now)
    store.INSERT_LOGS.run(
        connection, [_line(*one, number, now) for number, one in enumerate(refused)]
    )


def _may_pass(answer: Refused) -> bool:
    return answer.retry_after_seconds is not None


def _line(
    checkpoint: Checkpoint, state: StepState, answer: Refused, number: int, now: datetime
) -> dict[str, Any]:
    return {
        "run_id": checkpoint.run_id,
        "path": state.path,
        "attempt": state.attempt,
        "line": LINE_OF_THE_ENGINE + number,
        "level": "error",
        "message": cut(f"The run was not started: {answer.detail}"),
        "data": {"code": answer.code},
        "at": now,
    }
