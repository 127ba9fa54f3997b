"""What a node attaches, as the command that goes with its attempt's result."""

import hashlib
from datetime import datetime
from typing import Any

from app.core.ids import new_id
from app.engine.attempt.masking import mask_text, masked
from app.engine.evidence.canonical import canonical
from app.engine.sdk import Fail

MAX_KIND_CHARACTERS = 100
MAX_TITLE_CHARACTERS = 500


def attached(kind: str, encoded: bytes, title: str, at: datetime) -> dict[str, Any]:
    """Return the data of an `evidence` command; `encoded` is the content as JSON, stored with its secrets masked.

    Its id is made here, so that a checkpoint that is written twice keeps it once.

    Raises:
        Fail: there is no kind, or the content is a bare number.
    """
    if not 0 < len(kind.strip()) <= MAX_KIND_CHARACTERS:
        raise _refused(f"The kind of evidence must have 1 to {MAX_KIND_CHARACTERS} characters.")
    content = masked(encoded)
    if not isinstance(content, dict | list | str):
        raise _refused(
            "Evidence must be an object, a list or a text: put the value into an object."
        )
    stored = canonical(content)
    return {
        "id": new_id(),
        "kind": kind.strip(),
        "title": mask_text(title)[:MAX_TITLE_CHARACTERS],
        "content": content,
        "bytes": len(stored),
        "sha256": hashlib.sha256(stored).hexdigest(),
        "at": at,
    }


def _refused(message: str) -> Fail:
    return Fail(message, code="invalid_evidence")
