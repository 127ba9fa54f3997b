"""What is kept of the use of credentials: when it was last, and an entry of the audit log for each attempt, in its commit."""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

from sqlalchemy import Connection

from app.core.logging import get_logger
from app.engine.checkpoint import Checkpoint
from app.engine.credentials.store import TOUCH_CREDENTIALS

USED = "credential.used"
TOUCHED_EVERY = timedelta(minutes=1)
log = get_logger(__name__)


def record_uses(connection: Connection, batch: Sequence[Checkpoint]) -> None:
    """Put the credentials that attempts have used on record, in the caller's transaction."""
    entries = [
        entry for checkpoint in batch if checkpoint.brought for entry in entries_of(checkpoint)
    ]
    if not entries:
        return
    ids = sorted({entry["target_id"] for entry in entries})
    now = max(entry["at"] for entry in entries)
    rows = [{"id": credential_id} for credential_id in ids]
    TOUCH_CREDENTIALS.run(connection, rows, now=now, stale=now - TOUCHED_EVERY)
    put_on_record(connection, entries)


def entries_of(checkpoint: Checkpoint) -> list[dict[str, Any]]:
    """Return the entries for what the attempts of a checkpoint have used."""
    return [
        {
            "action": USED,
            "target_kind": "credential",
            "target_id": use.credential_id,
            "owner_id": checkpoint.facts.owner_id,
            "at": state.finished_at or state.started_at,
            "details": {
                "name": use.name,
                "run_id": checkpoint.run_id,
                "step": state.path,
                "attempt": state.attempt,
                "host": use.host,
            },
        }
        for state in checkpoint.ended
        if (brought := checkpoint.brought.get(state.path)) is not None
        for use in brought.uses
    ]


def put_on_record(connection: Connection, entries: Sequence[Mapping[str, Any]]) -> None:
    """Hand entries to the audit log."""
    del connection
    for entry in entries:
        log.info(entry["action"], credential_id=entry["target_id"], **entry["details"])
