"""Start the hooks of runs that are over: runs of workflows, and calls of URLs that are to be made."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row

from app.core.logging import get_logger
from app.core.statuses import TriggerKind
from app.engine.children.targets import context_below, find_target, require_depth
from app.engine.hooks import store
from app.engine.hooks.report import event_of, report_of, targets_of
from app.engine.intake import Accepted, NewRun, Refused, accept
from app.engine.sdk import Fail

log = get_logger(__name__)


def start_hooks(connection: Connection, now: datetime, batch: int) -> tuple[int, Sequence[str]]:
    """Start hooks in the caller's transaction; returns of how many runs, and the runs to be handed on after the commit."""
    ended = store.TAKE_HOOKED.run(connection, batch=batch)
    if not ended:
        return 0, ()
    runs: list[NewRun] = []
    calls: dict[tuple[str, str], dict[str, Any]] = {}
    for row in ended:
        if event_of(row) is not None:
            _start(connection, row, now, runs, calls)
    answers = accept(connection, runs, now) if runs else []
    for run, answer in zip(runs, answers, strict=True):
        if isinstance(answer, Refused):
            place = f"workflow:{run.workflow_id}"
            calls[run.parent_run_id or "", place] = _refused(run, place, answer)
    if calls:
        # In one order everywhere: two transactions with the same rows must not wait for each other.
        store.PUT_CALLS.run(connection, [calls[key] for key in sorted(calls)])
    store.CLEAR_HOOKS.run(connection, [{"id": row.id} for row in ended])
    return len(ended), [run.run_id for run in answers if isinstance(run, Accepted)]


def _start(
    connection: Connection,
    row: Row[Any],
    now: datetime,
    runs: list[NewRun],
    calls: dict[tuple[str, str], dict[str, Any]],
) -> None:
    """Add what the end of a run calls; a workflow that cannot be run leaves a line in the history instead."""
    for number, (kind, name) in enumerate(targets_of(row)):
        if kind == "url":
            calls[row.id, name] = _call(row, name, now, None)
            continue
        try:
            runs.append(_hook_run(connection, row, name, number))
        except Fail as fault:
            log.warning("hook_not_started", run_id=row.id, workflow=name, reason=fault.message)
            place = f"workflow:{name}"
            calls[row.id, place] = _call(row, place, None, fault.message)


def _hook_run(connection: Connection, row: Row[Any], workflow: str, number: int) -> NewRun:
    require_depth(row.depth + 1)
    found = find_target(connection, row.owner_id, workflow)
    target = found.target
    return NewRun(
        owner_id=row.owner_id,
        workflow_id=target.workflow_id,
        version_id=target.version_id,
        version=target.version,
        trigger=TriggerKind.HOOK,
        input=report_of(row),
        # The epoch tells the ends of a run apart that was retried in between.
        idempotency_key=f"hook:{row.id}:{row.epoch}:{number}",
        context=context_below(workflow, found.context_rules, row.context),
        depth=row.depth + 1,
        parent_run_id=row.id,
        started_by=row.started_by,
    )


def _refused(run: NewRun, place: str, answer: Refused) -> dict[str, Any]:
    return {
        "run_id": run.parent_run_id,
        "url": place,
        "next_try_at": None,
        "last_error": answer.detail,
    }


def _call(row: Row[Any], url: str, due: datetime | None, error: str | None) -> dict[str, Any]:
    return {"run_id": row.id, "url": url, "next_try_at": due, "last_error": error}
