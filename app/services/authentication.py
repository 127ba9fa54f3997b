"""Whom an access token or an API key stands for, as accounts are at this moment; many in one go.

Every request comes through here: for itself, or in the batch of a desk that takes many.
"""

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import Connection, Engine, Integer, Row, String
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from app.core.errors import NotAuthenticated
from app.core.logging import get_logger
from app.core.permissions import SCOPES_OF, Scope
from app.core.security.shown_once import API_KEY_REFUSED, ApiKeyClaims
from app.core.security.tokens import TokenClaims
from app.core.statuses import Role
from app.db.session import reading
from app.db.statement import Statement
from app.db.types import Id, Json, Status, UtcDateTime
from app.services.callers import Caller

Proof = TokenClaims | ApiKeyClaims
"""What a caller has shown: a token whose signature holds, or a key that is not looked up yet."""
TOKEN_REFUSED: Final = "The access token is no longer valid: log in again."
NOTED_EVERY: Final = timedelta(minutes=1)
KNOWN_SCOPES: Final = frozenset(Scope)
UNKNOWN_DIGEST: Final = "0" * 64
log = get_logger(__name__)

# The accounts that tokens name, each with the session if that is still there. Closed accounts have no tokens.
LOAD_BY_TOKEN = Statement(
    """
    SELECT u.id, u.token_version, u.email, u.role, s.id AS session_id
    FROM {rows} JOIN users u ON u.id = v.id AND u.active
    LEFT JOIN sessions s ON s.id = v.session_id AND s.user_id = u.id
    """,
    rows={"id": "uuid", "session_id": "uuid"},
    returns={
        "id": Id(),
        "token_version": Integer(),
        "email": String(),
        "role": Status(Role),
        "session_id": Id(),
    },
)
LOAD_BY_KEY = Statement(
    """
    SELECT k.id AS key_id, k.digest, k.scopes, k.expires_at, k.last_used_at, u.id, u.email, u.role
    FROM {rows} JOIN api_keys k ON k.id = v.id AND k.id {among_ids}
    JOIN users u ON u.id = k.user_id AND u.active
    """,
    rows={"id": "uuid"},
    returns={
        "key_id": Id(),
        "digest": String(),
        "scopes": Json,
        "expires_at": UtcDateTime(),
        "last_used_at": UtcDateTime(),
        "id": Id(),
        "email": String(),
        "role": Status(Role),
    },
)
NOTE_USE = Statement(
    "UPDATE api_keys SET last_used_at = :now WHERE id = :id AND (last_used_at IS NULL OR last_used_at < :before)",
    takes={"id": Id(), "now": UtcDateTime(), "before": UtcDateTime()},
)


class Callers:
    """Finds callers, and notes beside, once a minute at most, that an API key was used."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._notes = ThreadPoolExecutor(1, thread_name_prefix="key-use")
        self._being_noted: set[str] = set()

    def find(self, proof: Proof, now: datetime, address: str | None = None) -> Caller:
        """Return who is calling.

        Raises:
            NotAuthenticated: the account is gone or closed, or has ended this token, session or key.
        """
        with reading(self._engine) as connection:
            caller = self.load(connection, [proof], now).get(proof)
        if caller is None:
            raise refusal_of(proof)
        return replace(caller, address=address)

    def load(
        self, connection: Connection, proofs: Iterable[Proof | None], now: datetime
    ) -> dict[Proof, Caller]:
        """Return the callers whose proofs hold, with one statement for tokens and one for keys."""
        asked = {proof for proof in proofs if proof is not None}
        tokens = [proof for proof in asked if isinstance(proof, TokenClaims)]
        keys = [proof for proof in asked if isinstance(proof, ApiKeyClaims)]
        found: dict[Proof, Caller] = {}
        if tokens:
            found.update(_by_token(connection, tokens))
        if keys:
            found.update(self._by_key(connection, keys, now))
        return found

    def close(self) -> None:
        """Write what is to be noted, and stop."""
        self._notes.shutdown()

    def _by_key(
        self, connection: Connection, keys: list[ApiKeyClaims], now: datetime
    ) -> Iterator[tuple[Proof, Caller]]:
        rows = LOAD_BY_KEY.run(connection, [{"id": id_} for id_ in {key.key_id for key in keys}])
        stored = {row.key_id: row for row in rows}
        for key in keys:
            row = stored.get(key.key_id)
            fits = key.fits(row.digest if row else UNKNOWN_DIGEST)
            if row is None or not fits or (row.expires_at is not None and row.expires_at <= now):
                continue
            if row.last_used_at is None or row.last_used_at < now - NOTED_EVERY:
                self._note(row.key_id, now)
            granted = KNOWN_SCOPES.intersection(row.scopes) & SCOPES_OF[row.role]
            yield key, Caller(row.id, row.email, row.role, granted, api_key_id=row.key_id)

    def _note(self, key_id: str, now: datetime) -> None:
        """Have the use written by a transaction of its own: nobody waits for it."""
        if key_id not in self._being_noted:
            self._being_noted.add(key_id)
            self._notes.submit(self._write, key_id, now)

    def _write(self, key_id: str, now: datetime) -> None:
        try:
            with self._engine.begin() as connection:
                NOTE_USE.run(connection, id=key_id, now=now, before=now - NOTED_EVERY)
        except (DBAPIError, PoolTimeout) as error:
            log.warning("key_use_not_noted", error=type(error).__name__)
        finally:
            self._being_noted.discard(key_id)


def refusal_of(proof: Proof) -> NotAuthenticated:
    """Return what is said to whoever shows something that does not hold."""
    return NotAuthenticated(TOKEN_REFUSED if isinstance(proof, TokenClaims) else API_KEY_REFUSED)


def _by_token(connection: Connection, tokens: list[TokenClaims]) -> Iterator[tuple[Proof, Caller]]:
    asked = {(token.user_id, token.session_id) for token in tokens}
    rows = LOAD_BY_TOKEN.run(connection, [{"id": id_, "session_id": at} for id_, at in asked])
    found: dict[tuple[Any, ...], Row[Any]] = {
        (row.id, row.token_version, row.session_id): row for row in rows
    }
    for token in tokens:
        row = found.get((token.user_id, token.token_version, token.session_id))
        if row is not None:
            yield (
                token,
                Caller(row.id, row.email, row.role, SCOPES_OF[row.role], session_id=row.session_id),
            )
