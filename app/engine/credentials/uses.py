"""What is kept of the use of credentials: when it was last, and an entry of the audit log for each attempt, in its commit."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Final

from sqlalchemy import Connection

from app.engine.audit.appending import append
from app.engine.audit.entry import SYSTEM, Entry
from app.engine.checkpoint import Checkpoint
from app.engine.credentials.store import TOUCH_CREDENTIALS
from app.engine.store import database_now

USED: Final = "credential.used"
TOUCHED_EVERY = timedelta(minutes=1)


def record_uses(connection: Connection, batch: Sequence[Checkpoint]) -> None:
    """Put the credentials that attempts have used on record. Nothing else may be locked after it in the transaction."""
    entries = [entry for item in batch if item.brought for entry in entries_of(item)]
    if not entries:
        return
    now = database_now(connection)
    rows = [{"id": target_id} for target_id in sorted({entry.target_id for entry in entries})]
    TOUCH_CREDENTIALS.run(connection, rows, now=now, stale=now - TOUCHED_EVERY)
    append(connection, entries)


def entries_of(checkpoint: Checkpoint) -> list[Entry]:
    """Return the entries for what the attempts of a checkpoint have used."""
    return [
        Entry(
            SYSTEM,
            USED,
            "credential",
            use.credential_id,
            checkpoint.facts.owner_id,
            {
                "name": use.name,
                "run_id": checkpoint.run_id,
                "step": state.path,
                "attempt": state.attempt,
                "host": use.host,
            },
            checkpoint.run_id,
        )
        for state in checkpoint.ended
        if (brought := checkpoint.brought.get(state.path)) is not None
        for use in brought.uses
    ]
