"""What `respond` steps answer to a webhook call that waits: kept on the run, the first answer for good."""

from collections.abc import Iterable, Mapping
from typing import Any

from sqlalchemy import Connection

from app.db.statement import Statement

# Keep an answer, unless the run has one.
KEEP = Statement(
    "UPDATE runs SET response = v.response FROM {rows} WHERE runs.id = v.id AND runs.id {among_ids} AND runs.response IS NULL",
    rows={"id": "uuid", "response": "json"},
)


def keep_responses(
    connection: Connection, responses: Iterable[tuple[str, Mapping[str, Any]]]
) -> None:
    """Keep answers by run, in the transaction that commits their steps."""
    first: dict[str, Mapping[str, Any]] = {}
    for run_id, response in responses:
        first.setdefault(run_id, response)
    KEEP.run(connection, [{"id": run_id, "response": first[run_id]} for run_id in sorted(first)])
