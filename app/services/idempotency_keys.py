"""What callers send to tell that a request is an earlier one come again."""

from typing import Final

from app.core.errors import InvalidInput, Problem

MAX_KEY_CHARACTERS: Final = 200


def require_usable(key: str) -> None:
    """Do nothing when an `Idempotency-Key` can be kept.

    Raises:
        InvalidInput: it is empty or too long.
    """
    if not 0 < len(key) <= MAX_KEY_CHARACTERS:
        detail = f"The Idempotency-Key must have 1 to {MAX_KEY_CHARACTERS} characters."
        raise InvalidInput(detail, [Problem("", "invalid_idempotency_key", detail)])
