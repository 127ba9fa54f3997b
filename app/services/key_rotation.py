"""Encrypt anew what is stored under older keys, so that they can be taken out of ENCRYPTION_KEYS."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from sqlalchemy import Connection, Engine

from app.core.security.encryption import KeyRing
from app.engine.credentials import rotation
from app.services import webhook_secrets

BATCH: Final = 200
KeysInUse = Callable[[Connection], Mapping[str, int]]


@dataclass(frozen=True, slots=True)
class Encrypted:
    """Something that is stored encrypted."""

    name: str
    reencrypt: Callable[[Connection, KeyRing, int], int]
    """Encrypts at most so many rows under the newest key; returns how many there were. Raises CannotDecrypt."""
    keys_in_use: KeysInUse
    """Returns how much lies under each key, by its id."""


ENCRYPTED: Final = (
    Encrypted("credentials", rotation.reencrypt, rotation.keys_in_use),
    Encrypted("webhook secrets", webhook_secrets.reencrypt, webhook_secrets.keys_in_use),
)
"""All that is: whatever is added here is looked after by `rotate-keys`."""


def rotate(engine: Engine, keys: KeyRing, stored: Encrypted) -> int:
    """Encrypt what lies under older keys anew, in small transactions; returns how much that was. May be repeated.

    Raises:
        CannotDecrypt: something was changed in the database.
    """
    total = 0
    while True:
        with engine.begin() as connection:
            done = stored.reencrypt(connection, keys, BATCH)
        total += done
        if done == 0:
            return total


def keys_in_use(engine: Engine, stored: Encrypted) -> Mapping[str, int]:
    """Return how much lies under each key, by its id."""
    with engine.connect() as connection:
        return stored.keys_in_use(connection)
