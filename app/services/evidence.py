"""What a run can show for itself: its evidence, and a bundle of everything that is recorded of it."""

import base64
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

import orjson
from sqlalchemy import tuple_
from sqlmodel import Session, col, select
from sqlmodel.sql.expression import SelectOfScalar

from app.core.errors import Conflict
from app.core.ids import parse_id
from app.db.tenancy import release
from app.engine.audit.store import newest
from app.engine.evidence.bundle import BundleWriter, TooLarge
from app.models import (
    Approval,
    ApprovalDecision,
    AuditEntry,
    Evidence,
    Run,
    RunLog,
    StepAttempt,
    User,
    Workflow,
    WorkflowVersion,
)
from app.schemas.audit import entry_form
from app.schemas.evidence import EvidenceArtifact, EvidenceForm
from app.services.access import require_readable_run
from app.services.callers import Caller
from app.services.pages import decode_cursor
from app.services.runs import log_form, output_of

MAX_BUNDLE_BYTES: Final = 64 * 1024**2
ROWS_AT_ONCE: Final = 500
_KEY = (col(Evidence.at), col(Evidence.id))
_RUN_FIELDS: Final = (
    "id", "workflow_id", "version", "status", "input", "error", "waiting_for", "context", "depth", "parent_run_id",
    "parent_path", "replay_of", "control", "started_by", "created_at", "started_at", "finished_at",
)  # fmt: skip
_STEP_FIELDS: Final = (
    "path", "attempt", "type", "status", "port", "input", "wait", "superseded", "error", "retry_at", "started_at",
    "finished_at",
)  # fmt: skip
_APPROVAL_FIELDS: Final = (
    "id", "path", "attempt", "status", "prompt", "form", "approvers", "min_approvals", "reject_quorum", "allow_self",
    "requested_by", "shown_hash", "created_at", "due_at", "escalated_at", "decided_at",
)  # fmt: skip
_DECISION_FIELDS: Final = ("by", "decision", "comment", "form", "shown_hash", "via", "at")
_VERSION_FIELDS: Final = ("version", "checksum", "definition", "created_by", "created_at")


@dataclass(frozen=True, slots=True)
class RunEvidence:
    """What a user may read of the evidence of runs."""

    session: Session
    caller: Caller

    def list(
        self, run_id: str, limit: int, cursor: str | None
    ) -> tuple[Sequence[EvidenceForm], str | None]:
        """Return a page of a run's evidence, oldest first, and the next page's cursor.

        Raises:
            NotFound: the run is absent, or the user may not read it.
        """
        require_readable_run(self.session, self.caller, run_id)
        query = _of_run(run_id)
        if cursor is not None:
            query = query.where(tuple_(*_KEY) > tuple_(*decode_cursor(cursor, _read_key)))
        rows = self.session.exec(query.limit(limit + 1)).all()
        next_cursor = _cursor(rows[limit - 1]) if len(rows) > limit else None
        return [evidence_form(row) for row in rows[:limit]], next_cursor

    def bundle(self, run_id: str) -> bytes:
        """Return everything that is recorded of a run as one JSON document with hashes.

        Raises:
            NotFound: the run is absent, or the user may not read it.
            Conflict: it is more than MAX_BUNDLE_BYTES.
        """
        run = require_readable_run(self.session, self.caller, run_id)
        # Whom the legal basis names reads the version too, and what others did, which stands behind its owner's wall.
        release(self.session)
        try:
            return bundle_of(self.session, run, MAX_BUNDLE_BYTES)
        except TooLarge:
            raise Conflict(
                f"The bundle of this run would be larger than {MAX_BUNDLE_BYTES // 1024**2} MiB: let the operator export it "
                f"with `python3 main.py runs evidence export {run_id}`."
            ) from None


def bundle_of(session: Session, run: Run, max_bytes: int | None) -> bytes:
    """Return everything that is recorded of a run as one JSON document; of one that goes on, what there is so far.

    Raises:
        TooLarge: it is more than `max_bytes`.
    """
    writer = BundleWriter(max_bytes)
    writer.add("run", _run_part(session, run))
    writer.add(
        "version", _picked(session.get_one(WorkflowVersion, run.version_id), _VERSION_FIELDS)
    )
    writer.add_list("steps", _steps(session, run.id))
    writer.add_list("approvals", _approvals(session, run.id))
    writer.add_list("logs", _logs(session, run))
    writer.add_list("evidence", _evidence(session, run.id))
    writer.add_list("audit", _audit(session, run.id))
    head = newest(session.connection())
    writer.add("audit_head", {"seq": head.seq, "hash": head.hash})
    return writer.finish()


def evidence_form(row: Evidence) -> EvidenceForm:
    """Return evidence as it is shown."""
    artifact = None
    if row.artifact is not None:
        url = f"/api/v1/runs/{row.run_id}/artifacts/{row.artifact}"
        artifact = EvidenceArtifact(sha256=row.artifact, bytes=row.artifact_bytes or 0, url=url)
    return EvidenceForm(
        id=row.id,
        step=row.path,
        attempt=row.attempt,
        kind=row.kind,
        title=row.title,
        content=row.content,
        artifact=artifact,
        sha256=row.sha256,
        at=row.at,
    )


def _run_part(session: Session, run: Run) -> dict[str, Any]:
    workflow = session.get(Workflow, run.workflow_id)
    owner = session.exec(select(User.email).where(col(User.id) == run.owner_id)).first()
    return {
        **_picked(run, _RUN_FIELDS),
        "trigger": run.trigger_kind,
        "output": output_of(run, run.id),
        "workflow": workflow.name if workflow else None,
        "owner": owner,
    }


def _steps(session: Session, run_id: str) -> Iterator[dict[str, Any]]:
    query = select(StepAttempt).where(StepAttempt.run_id == run_id)
    for row in _each(session, query.order_by(col(StepAttempt.seq), col(StepAttempt.attempt))):
        yield {**_picked(row, _STEP_FIELDS), "output": output_of(row, run_id)}


def _approvals(session: Session, run_id: str) -> Iterator[dict[str, Any]]:
    query = select(Approval).where(Approval.run_id == run_id).order_by(col(Approval.id))
    for approval in session.exec(query).all():
        decided = select(ApprovalDecision).where(ApprovalDecision.approval_id == approval.id)
        decisions = session.exec(
            decided.order_by(col(ApprovalDecision.at), col(ApprovalDecision.by))
        ).all()
        told = [_picked(decision, _DECISION_FIELDS) for decision in decisions]
        yield {**_picked(approval, _APPROVAL_FIELDS), "decisions": told}


def _logs(session: Session, run: Run) -> Iterator[dict[str, Any]]:
    query = select(RunLog).where(RunLog.run_id == run.id)
    ordered = query.order_by(
        col(RunLog.at), col(RunLog.path), col(RunLog.attempt), col(RunLog.line)
    )
    for row in _each(session, ordered):
        yield log_form(row, run.context).model_dump()


def _evidence(session: Session, run_id: str) -> Iterator[dict[str, Any]]:
    for row in _each(session, _of_run(run_id)):
        yield evidence_form(row).model_dump()


def _audit(session: Session, run_id: str) -> Iterator[dict[str, Any]]:
    query = select(AuditEntry).where(AuditEntry.run_id == run_id).order_by(col(AuditEntry.seq))
    for row in _each(session, query):
        yield entry_form(row).model_dump(exclude={"actor": {"address"}})


def _of_run(run_id: str) -> SelectOfScalar[Evidence]:
    return select(Evidence).where(Evidence.run_id == run_id).order_by(*_KEY)


def _each(session: Session, query: SelectOfScalar[Any]) -> Iterator[Any]:
    """Yield rows without holding all of them."""
    for row in session.exec(query.execution_options(yield_per=ROWS_AT_ONCE)):
        yield row
        session.expunge(row)


def _picked(row: Any, fields: Sequence[str]) -> dict[str, Any]:
    return {name: getattr(row, name) for name in fields}


def _cursor(row: Evidence) -> str:
    return base64.urlsafe_b64encode(orjson.dumps([row.at, row.id])).rstrip(b"=").decode()


def _read_key(raw: bytes) -> tuple[datetime, str]:
    at, evidence_id = orjson.loads(raw)
    known, moment = parse_id(evidence_id), datetime.fromisoformat(at)
    if known is None or moment.tzinfo is None:
        raise ValueError(evidence_id)
    return moment.astimezone(UTC), known
