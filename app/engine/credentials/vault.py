"""The vault as a worker sees it: opens credentials for attempts, many in one query, and forgets them within seconds."""

import asyncio
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import httpx
import orjson
from pydantic import ValidationError
from sqlalchemy import Engine, Row

from app.core.clock import Clock
from app.core.errors import AutomateError, Unavailable
from app.core.logging import get_logger
from app.core.security.encryption import CannotDecrypt, KeyRing, Sealed
from app.db.group_commit import GroupCommit
from app.db.session import reading
from app.engine.credentials.credential import Credential
from app.engine.credentials.kinds import KINDS, CredentialData
from app.engine.credentials.oauth import Tokens
from app.engine.credentials.store import FIND_CREDENTIALS, bound_to

KEPT_SECONDS = 2.0
"""How long an opened credential is kept in memory: so long a change may go unnoticed."""
FIRST_PAUSE_SECONDS = 0.1
MAX_PAUSE_SECONDS = 2.0
log = get_logger(__name__)
Key = tuple[str, str]
"""An owner's id and a name."""


class CredentialUnreadable(AutomateError):
    """The credential cannot be decrypted: save it again, or ask the operator whether a key of ENCRYPTION_KEYS is missing."""

    code = "credential_unreadable"


@dataclass(frozen=True, slots=True)
class Opened:
    """A credential as it was read, in the clear."""

    id: str
    name: str
    revision: int
    allowed_hosts: tuple[str, ...]
    data: CredentialData

    @property
    def credential(self) -> Credential:
        """Return it as nodes get it."""
        return Credential(self.name, self.data.kind, self.data.fields(), self.allowed_hosts)


class Vault:
    """Opens credentials. Belongs to one event loop; asks the database for nothing before the first that is wanted."""

    def __init__(
        self, engine: Engine, keys: KeyRing, http: httpx.AsyncClient, clock: Clock
    ) -> None:
        self._engine = engine
        self._keys = keys
        self._kept: dict[Key, Opened] = {}
        self._reads: GroupCommit[Key, Opened | None] = GroupCommit(self._read, name="vault")
        self.tokens = Tokens(http, clock)

    def of(self, owner_id: str) -> "OwnersVault":
        """Return what belongs to one owner."""
        return OwnersVault(self, owner_id)

    async def open(self, owner_id: str, names: Collection[str]) -> dict[str, Opened]:
        """Return those of the owner's credentials that are there, by name; waits while the database is away.

        Raises:
            CredentialUnreadable: one cannot be decrypted.
        """
        found = await asyncio.gather(*(self._open((owner_id, name)) for name in names))
        return {opened.name: opened for opened in found if opened is not None}

    async def close(self) -> None:
        """Forget everything and stop."""
        await self._reads.close()
        await self.tokens.close()
        self._kept.clear()

    async def _open(self, key: Key) -> Opened | None:
        if key in self._kept:
            return self._kept[key]
        opened = await self._submit(key)
        if opened is not None and key not in self._kept:
            self._kept[key] = opened
            asyncio.get_running_loop().call_later(KEPT_SECONDS, self._kept.pop, key, None)
        return opened

    async def _submit(self, key: Key) -> Opened | None:
        pause = FIRST_PAUSE_SECONDS
        while True:
            try:
                return await self._reads.submit(key)
            except Unavailable as fault:
                log.warning("credential_postponed", reason=str(fault.__cause__ or fault))
                await asyncio.sleep(pause)
                pause = min(pause * 2, MAX_PAUSE_SECONDS)

    def _read(self, keys: Sequence[Key]) -> Sequence[Opened | Exception | None]:
        rows = [{"owner_id": owner_id, "name": name} for owner_id, name in dict.fromkeys(keys)]
        with reading(self._engine) as connection:
            found = FIND_CREDENTIALS.run(connection, rows)
        read = {(row.owner_id, row.name): self._decrypted(row) for row in found}
        return [read.get(key) for key in keys]

    def _decrypted(self, row: Row[tuple[object, ...]]) -> Opened | CredentialUnreadable:
        try:
            sealed = Sealed(row.key_id, row.ciphertext)
            plain = self._keys.open(sealed, bound_to(row.id, row.owner_id))
            data = KINDS[row.kind].model_validate(orjson.loads(plain))
        except (CannotDecrypt, ValidationError, KeyError) as error:
            reason = str(error) if isinstance(error, CannotDecrypt) else type(error).__name__
            log.error("credential_unreadable", credential_id=row.id, reason=reason)  # noqa: TRY400 - its trace could tell what it holds
            return CredentialUnreadable()
        return Opened(row.id, row.name, row.revision, tuple(row.allowed_hosts), data)


@dataclass(frozen=True, slots=True)
class OwnersVault:
    """The credentials of one owner: all that an attempt of their runs can reach."""

    vault: Vault
    owner_id: str

    async def open(self, names: Collection[str]) -> dict[str, Opened]:
        """Return those of the credentials that are there, by name.

        Raises:
            CredentialUnreadable: one cannot be decrypted.
        """
        return await self.vault.open(self.owner_id, names)

    async def access_token(self, opened: Opened, refused: str | None = None) -> str:
        """Return an access token for a client, another one than the `refused`.

        Raises:
            Fail, Retry: the server that gives them refuses, or does not answer.
        """
        return await self.vault.tokens.get(opened.id, opened.revision, opened.data, refused)
