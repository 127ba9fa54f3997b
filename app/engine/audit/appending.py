"""Add entries to the chain: the last thing that a transaction does before its commit."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Final

import orjson
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from sqlalchemy import Connection, Engine

from app.core.config import Settings, require_secret_key
from app.engine.attempt.masking import masked
from app.engine.audit import store
from app.engine.audit.chain import chained
from app.engine.audit.entry import Entry
from app.engine.store import database_now

KEY_BYTES: Final = 32
MAX_DETAILS_BYTES: Final = 65_536
MAX_TEXT_CHARACTERS: Final = 500
"""Of what callers have a hand in: their address, the e-mail address that they claim, a target."""
_OPTION: Final = "audit_key"


@dataclass(frozen=True, slots=True)
class AuditKey:
    """What the chain's hashes are made with."""

    key: bytes = field(repr=False)


def audit_key(secret_key: str) -> AuditKey:
    """Return the key that SECRET_KEY stands for here; nothing else is done with it."""
    derive = HKDF(SHA256(), KEY_BYTES, salt=None, info=b"automateos audit chain").derive
    return AuditKey(derive(secret_key.encode()))


def audit_key_of(settings: Settings) -> AuditKey:
    """Return the key of the settings.

    Raises:
        ConfigurationError: there is no SECRET_KEY.
    """
    return audit_key(require_secret_key(settings))


def keep_audit(engine: Engine, key: AuditKey) -> None:
    """Let what is done through an engine be put on record."""
    engine.update_execution_options(**{_OPTION: key})


def key_of(bind: Connection | Engine) -> bytes:
    """Return the key of an engine, or of a connection of it.

    Raises:
        RuntimeError: `keep_audit` was not called; what is put on record there would be lost.
    """
    key: AuditKey | None = bind.get_execution_options().get(_OPTION)
    if key is None:
        raise RuntimeError("Nothing can be put on record here: call keep_audit(engine, key) first.")
    return key.key


def append(connection: Connection, entries: Sequence[Entry]) -> None:
    """Chain entries, with their details masked.

    It holds the chain until the commit: nothing else may be locked after it, or two would wait for each other.

    Raises:
        RuntimeError: the engine has no key.
    """
    if not entries:
        return
    key = key_of(connection)
    hold_chain(connection)
    kept = [_kept(entry) for entry in entries]
    rows = chained(key, store.newest(connection), kept, database_now(connection))
    store.APPEND.run(connection, [store.row_of(row) for row in rows])


def hold_chain(connection: Connection) -> None:
    """Let nobody else add to the chain until the commit."""
    if connection.dialect.name == "postgresql":
        store.HOLD.run(connection, number=store.CHAIN_LOCK)


def _kept(entry: Entry) -> Entry:
    encoded = orjson.dumps(entry.details)
    small = len(encoded) <= MAX_DETAILS_BYTES
    actor = replace(entry.actor, email=_cut(entry.actor.email), address=_cut(entry.actor.address))
    return replace(
        entry,
        actor=actor,
        target_id=entry.target_id[:MAX_TEXT_CHARACTERS],
        details=masked(encoded) if small else {"left_out_bytes": len(encoded)},
    )


def _cut(text: str | None) -> str | None:
    return None if text is None else text[:MAX_TEXT_CHARACTERS]
