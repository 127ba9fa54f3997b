"""Keep evidence: rows of `evidence`, written in the transaction of what they testify to."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import Connection

from app.core.ids import new_id
from app.db.statement import Statement
from app.engine.artifacts.store import Artifact
from app.engine.evidence.canonical import sha256_of

# Evidence is written once: a checkpoint that is written again brings the same ids.
INSERT_EVIDENCE = Statement(
    """
    INSERT INTO evidence (id, run_id, path, attempt, kind, title, content, artifact, artifact_bytes, sha256, at)
    SELECT id, run_id, path, attempt, kind, title, content, artifact, artifact_bytes, sha256, at FROM {rows} WHERE true
    ON CONFLICT DO NOTHING
    """,
    rows={
        "id": "uuid",
        "run_id": "uuid",
        "path": "text",
        "attempt": "integer",
        "kind": "text",
        "title": "text",
        "content": "json",
        "artifact": "text",
        "artifact_bytes": "bigint",
        "sha256": "text",
        "at": "timestamptz",
    },
)


@dataclass(frozen=True, slots=True)
class NewEvidence:
    """Something to be put on record for a step. `content` is an object, a list or a text; null when an artifact holds it."""

    run_id: str
    path: str
    attempt: int
    kind: str
    content: Any
    at: datetime
    title: str = ""
    artifact: Artifact | None = None
    id: str = field(default_factory=new_id)

    def row(self) -> dict[str, Any]:
        """Return the row of `evidence`."""
        held = self.artifact
        row = {
            "id": self.id,
            "run_id": self.run_id,
            "path": self.path,
            "attempt": self.attempt,
            "kind": self.kind,
            "title": self.title,
            "sha256": sha256_of(self.content) if held is None else held.sha256,
            "at": self.at,
        }
        if held is None:
            return {**row, "content": self.content}
        return {**row, "artifact": held.sha256, "artifact_bytes": held.size}


def keep(connection: Connection, evidence: Sequence[NewEvidence]) -> None:
    """Write evidence down in the caller's transaction; what is there already stays as it is."""
    INSERT_EVIDENCE.run(connection, [item.row() for item in evidence])


def from_command(run_id: str, path: str, attempt: int, data: Mapping[str, Any]) -> NewEvidence:
    """Return what a node has attached; a large content lies in the artifact store already."""
    content = data.get("content")
    return NewEvidence(
        run_id=run_id,
        path=path,
        attempt=attempt,
        kind=data["kind"],
        title=data["title"],
        content=content,
        artifact=Artifact(data["sha256"], data["bytes"]) if content is None else None,
        at=datetime.fromisoformat(data["at"]),
        id=data["id"],
    )
