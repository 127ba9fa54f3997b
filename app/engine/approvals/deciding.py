"""Take decisions and time-outs down: under the run's lock, in the caller's transaction, each with what follows from it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row

from app.core.errors import Conflict, NotFound
from app.core.statuses import ApprovalStatus
from app.engine.approvals import rules, store
from app.engine.approvals.rules import Asked, Ended, Person, Said
from app.engine.audit.appending import append
from app.engine.audit.entry import SYSTEM, Entry
from app.engine.evidence.keeping import NewEvidence, keep
from app.engine.planning.record import rfc3339
from app.engine.waiting.ending import WaitEnd, end_waits, lock_runs


@dataclass(frozen=True, slots=True)
class Wish:
    """What a person wants to decide; `shown_hash` is that of what they have seen, if they tell it."""

    decision: ApprovalStatus
    comment: str | None = None
    form: Any = None
    shown_hash: str | None = None


def load(connection: Connection, approval_id: str) -> Asked | None:
    """Return an approval as it stands, or None."""
    found = _with_decisions(connection, store.LOAD.run(connection, id=approval_id))
    return found[0] if found else None


def take(
    connection: Connection, asked: Asked, person: Person, wish: Wish, now: datetime
) -> Sequence[str]:
    """Take a person's decision on what they may see; returns the runs that are to be handed on once it is committed.

    Raises:
        NotFound, PermissionDenied, Conflict: it is not theirs to decide, or not any more (`rules.require_open`).
    """
    said = Said(person.email, wish.decision, now, wish.comment, wish.form, person.via)
    # First, so that a person's second decision waits here for the first, and not for the run, which a worker wants to claim.
    _write(connection, asked, said)
    asked = _hold(connection, asked, said)
    rules.require_open(asked, person, wish.shown_hash, now)
    after = rules.decide(asked, said)
    return _end(connection, [after], now) if isinstance(after, Ended) else ()


def time_out_due(connection: Connection, now: datetime, batch: int) -> tuple[int, Sequence[str]]:
    """Do what approvals whose time is up have said: returns how many, and the runs that are to be handed on."""
    locked = store.LOCK_DUE_RUNS.run(connection, now=now, batch=batch)
    if not locked:
        return 0, ()
    rows = store.LOAD_DUE.run(connection, [{"id": row.id} for row in locked], now=now)
    due = [rules.time_out(asked, now) for asked in _with_decisions(connection, rows)]
    for after in due:
        if isinstance(after, Asked):
            _escalate(connection, after, now)
    run_ids = _end(connection, [after for after in due if isinstance(after, Ended)], now)
    append(connection, [_timed_out(after) for after in due])
    return len(due), run_ids


def _timed_out(after: Asked | Ended) -> Entry:
    done, asked = ("expired", after.asked) if isinstance(after, Ended) else ("escalated", after)
    details = {"step": asked.path, "timeout_action": asked.timeout_action}
    return Entry(
        SYSTEM, f"approval.{done}", "approval", asked.id, asked.owner_id, details, asked.run_id
    )


def _write(connection: Connection, asked: Asked, said: Said) -> None:
    written = store.SAY.run(
        connection,
        approval_id=asked.id,
        person=said.by,
        decision=said.decision,
        comment=said.comment,
        form=said.form,
        shown_hash=asked.shown_hash,
        via=said.via,
        at=said.at,
    )
    if not written:
        raise Conflict(f"{said.by} has decided already, and each approver decides once.")


def _hold(connection: Connection, asked: Asked, said: Said) -> Asked:
    """Return an approval that changes no more until the commit, as it stands apart from a decision just written."""
    lock_runs(connection, [asked.run_id])
    held = load(connection, asked.id)
    if held is None:
        raise NotFound(rules.UNKNOWN)
    return replace(held, said=tuple(before for before in held.said if before.by != said.by))


def _end(connection: Connection, ended: Sequence[Ended], now: datetime) -> Sequence[str]:
    """Settle approvals, put them on record, and end the waits of their steps."""
    if not ended:
        return ()
    ends = []
    for end in ended:
        asked = end.asked
        if not store.SETTLE.run(connection, id=asked.id, status=asked.status, now=now):
            raise Conflict("This approval is over already: nothing is to be decided.")
        ends.append(WaitEnd(asked.run_id, asked.path, asked.attempt, end.resolution))
    keep(connection, [_evidence(end.asked, now) for end in ended])
    return end_waits(connection, ends, now).run_ids


def _evidence(asked: Asked, now: datetime) -> NewEvidence:
    content = {
        "approval_id": asked.id,
        "status": asked.status.value,
        "prompt": asked.prompt,
        "shown_hash": asked.shown_hash,
        "approvers": list(asked.approvers),
        "requested_by": asked.requested_by,
        "decisions": [{**said.shown, "via": said.via} for said in asked.said],
    }
    return NewEvidence(
        run_id=asked.run_id,
        path=asked.path,
        attempt=asked.attempt,
        kind="approval",
        title=f"Approval: {asked.status.value}",
        content=content,
        at=now,
    )


def _escalate(connection: Connection, asked: Asked, now: datetime) -> None:
    approvers = list(asked.approvers)
    store.ESCALATE.run(connection, id=asked.id, approvers=approvers, due_at=asked.due_at, now=now)
    store.ADD_APPROVERS.run(
        connection, [{"approval_id": asked.id, "approver": approver} for approver in approvers]
    )
    _show_again(connection, asked)


def _show_again(connection: Connection, asked: Asked) -> None:
    """Let the run and its step tell who is asked now, and until when."""
    place: dict[str, Any] = {"run_id": asked.run_id, "path": asked.path, "attempt": asked.attempt}
    until = {} if asked.due_at is None else {"until": rfc3339(asked.due_at)}
    changes = {"approvers": list(asked.approvers), **until}
    for row in store.LOAD_SHOWN.run(connection, **place):
        store.SHOW_STEP.run(connection, **place, wait={**(row.wait or {}), **changes})
        if row.waiting_for:
            waiting_for = [_changed(wait, asked.path, changes) for wait in row.waiting_for]
            store.SHOW_RUN.run(connection, run_id=asked.run_id, waiting_for=waiting_for)


def _changed(wait: Mapping[str, Any], path: str, changes: Mapping[str, Any]) -> Mapping[str, Any]:
    return {**wait, **changes} if wait.get("step") == path else wait


def _with_decisions(connection: Connection, rows: Sequence[Row[Any]]) -> list[Asked]:
    """Return approvals together with what has been decided on them."""
    if not rows:
        return []
    said: dict[str, tuple[Said, ...]] = {}
    for row in store.LOAD_DECISIONS.run(connection, [{"id": row.id} for row in rows]):
        one = Said(row.by, row.decision, row.at, row.comment, row.form, row.via)
        said[row.approval_id] = (*said.get(row.approval_id, ()), one)
    return [Asked(**row._asdict(), said=said.get(row.id, ())) for row in rows]
