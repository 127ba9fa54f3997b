"""The vault as people see it: they put in, change and take away; nothing that a credential holds comes out."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import orjson
from sqlalchemy import func, update
from sqlalchemy.exc import IntegrityError
from sqlmodel import Session, col, select

from app.core.clock import Clock
from app.core.errors import (
    Conflict,
    InvalidInput,
    NotFound,
    PermissionDenied,
    PreconditionFailed,
    Problem,
)
from app.core.ids import new_id
from app.core.permissions import TeamRole
from app.core.security.encryption import KeyRing
from app.engine.credentials.kinds import CredentialData
from app.engine.credentials.store import bound_to
from app.engine.language.catalogue import NodeCatalogue
from app.models import Credential
from app.schemas.credential import CredentialChanges, CredentialDraft, CredentialForm
from app.services.access import require_team
from app.services.audit import Change, record
from app.services.callers import Caller
from app.services.credential_data import read_data, require_no_more
from app.services.credential_workflows import workflows_using
from app.services.owners import hold_account
from app.services.pages import newest_first

MAX_CREDENTIALS = 1_000
"""Of one owner."""
SHOWN_WORKFLOWS = 5


@dataclass(frozen=True, slots=True)
class Credentials:
    """What a user may do with their credentials, and those of their teams. `session` is committed by the caller."""

    session: Session
    caller: Caller
    catalogue: NodeCatalogue
    keys: KeyRing
    clock: Clock

    def create(self, draft: CredentialDraft) -> CredentialForm:
        """Keep a new credential.

        Raises:
            NotFound: there is no such team, or the caller is not in it.
            PermissionDenied: the caller is no editor of the team.
            InvalidInput: the data does not fit the kind, or hosts are missing; every problem at once.
            Conflict: the name is taken, or the owner has as many as they may have.
        """
        owner_id = self._hold_owner(draft.team)
        data = read_data(draft.kind, draft.data, draft.allowed_hosts)
        self._require_free(owner_id, draft.name)
        self._require_room(owner_id)
        credential_id, now = new_id(), self.clock.now()
        credential = Credential(
            id=credential_id,
            owner_id=owner_id,
            name=draft.name,
            kind=draft.kind,
            **self._sealed(data, credential_id, owner_id),
            allowed_hosts=[*dict.fromkeys(draft.allowed_hosts)],
            description=draft.description,
            created_by=self.caller.id,
            created_at=now,
            updated_at=now,
        )
        self.session.add(credential)
        self._flush(draft.name)
        self._record("credential.created", credential)
        return self._form(credential)

    def list(self, limit: int, cursor: str | None) -> tuple[Sequence[CredentialForm], str | None]:
        """Return a page of the caller's credentials and those of their teams, newest first."""
        query = select(Credential).where(col(Credential.owner_id).in_(sorted(self.caller.owners)))
        found, next_cursor = newest_first(self.session, query, Credential.id, limit, cursor)
        return [self._form(credential) for credential in found], next_cursor

    def get(self, credential_id: str) -> CredentialForm:
        """Return a credential, without what it holds.

        Raises:
            NotFound: it is absent or another owner's.
        """
        return self._form(self._require(credential_id, TeamRole.VIEWER))

    def change(
        self,
        credential_id: str,
        changes: CredentialChanges,
        if_match: Collection[int] | None,
    ) -> CredentialForm:
        """Save a credential as it is to be.

        Raises:
            NotFound: it is absent or another owner's.
            PermissionDenied: the caller is no editor of its team.
            InvalidInput: the data does not fit, or is needed for this change; every problem at once.
            Conflict: the name is taken, or workflows use the old one.
            PreconditionFailed: `if_match` names other revisions, or somebody else was faster.
        """
        credential = self._require(credential_id, TeamRole.EDITOR)
        if if_match is not None and credential.revision not in if_match:
            raise PreconditionFailed
        values = self._values(credential, changes)
        if changes.name != credential.name:
            self._require_unused(credential, "rename it")
            self._require_free(credential.owner_id, changes.name)
        statement = (
            update(Credential)
            .where(
                col(Credential.id) == credential.id, col(Credential.revision) == credential.revision
            )
            .values(**values, revision=credential.revision + 1, updated_at=self.clock.now())
            .execution_options(synchronize_session=False)
        )
        try:
            changed = self.session.execute(statement).rowcount  # type: ignore[attr-defined]
        except IntegrityError:
            raise _taken(changes.name) from None
        if changed != 1:
            raise PreconditionFailed
        self.session.refresh(credential)
        self._record("credential.changed", credential)
        return self._form(credential)

    def delete(self, credential_id: str, *, force: bool) -> None:
        """Forget a credential.

        Raises:
            NotFound: it is absent or another owner's.
            PermissionDenied: the caller is no editor of its team.
            Conflict: enabled workflows use it, and it is not by `force`.
        """
        credential = self._require(credential_id, TeamRole.EDITOR, hold=True)
        if not force:
            self._require_unused(credential, "add `?force=true` to delete it all the same")
        self._record("credential.deleted", credential)
        self.session.delete(credential)
        self.session.flush()

    def _values(self, credential: Credential, changes: CredentialChanges) -> dict[str, Any]:
        """Return the columns of the changed credential."""
        before: list[str] = credential.allowed_hosts
        hosts = before if changes.allowed_hosts is None else changes.allowed_hosts
        self._require_owner(credential, changes.team)
        values: dict[str, Any] = {"name": changes.name, "allowed_hosts": [*dict.fromkeys(hosts)]}
        if changes.description is not None:
            values["description"] = changes.description
        if changes.data is not None:
            data = read_data(changes.kind, changes.data, hosts)
            sealed = self._sealed(data, credential.id, credential.owner_id)
            return values | {"kind": changes.kind} | sealed
        require_no_more(credential, changes.kind, hosts)
        return values

    def _hold_owner(self, team: str | None) -> str:
        """Return whose a new credential is to be; nobody else adds to their credentials before the commit."""
        if team is not None:
            return require_team(self.session, self.caller, team, TeamRole.EDITOR, hold=True).id
        hold_account(self.session, self.caller.id)
        return self.caller.id

    def _require_owner(self, credential: Credential, team: str | None) -> None:
        if team is not None and team != credential.owner_id:
            detail = "A credential stays with its owner: make a new one for the team, and delete this one."
            raise InvalidInput(detail, [Problem("/team", "invalid_value", detail)])

    def _sealed(self, data: CredentialData, credential_id: str, owner_id: str) -> dict[str, Any]:
        plain = orjson.dumps(data.model_dump(exclude_none=True))
        sealed = self.keys.seal(plain, bound_to(credential_id, owner_id))
        return {"ciphertext": sealed.ciphertext, "key_id": sealed.key_id}

    def _require(self, credential_id: str, role: TeamRole, *, hold: bool = False) -> Credential:
        credential = self.session.get(Credential, credential_id, with_for_update=hold or None)
        if credential is None or credential.owner_id not in self.caller.owners:
            raise NotFound(f"There is no credential {credential_id}, or it is not yours.")
        if credential.owner_id != self.caller.id:
            self._require_role(credential.owner_id, role)
        return credential

    def _require_role(self, team_id: str, role: TeamRole) -> None:
        if not self.caller.teams[team_id].includes(role):
            raise PermissionDenied(
                f"This needs the role `{role}` in the team {team_id}: an owner of the team can give it to you."
            )

    def _require_free(self, owner_id: str, name: str) -> None:
        mine = Credential.owner_id == owner_id
        if self.session.exec(select(Credential.id).where(mine, Credential.name == name)).first():
            raise _taken(name)

    def _require_room(self, owner_id: str) -> None:
        mine = col(Credential.owner_id) == owner_id
        if self.session.exec(select(func.count()).where(mine)).one() >= MAX_CREDENTIALS:
            raise Conflict(
                f"An owner has {MAX_CREDENTIALS} credentials at most: delete one that is not used."
            )

    def _require_unused(self, credential: Credential, how: str) -> None:
        using = workflows_using(
            self.session, self.catalogue, credential.owner_id, credential.name, SHOWN_WORKFLOWS + 1
        )
        if using:
            shown = ", ".join(f"{name!r} ({id_})" for id_, name in using[:SHOWN_WORKFLOWS])
            more = " and others" if len(using) > SHOWN_WORKFLOWS else ""
            raise Conflict(
                f"Enabled workflows use this credential: {shown}{more}. Change or disable them first, or {how}."
            )

    def _flush(self, name: str) -> None:
        try:
            self.session.flush()
        except IntegrityError:
            raise _taken(name) from None

    def _record(self, action: str, credential: Credential) -> None:
        details = {
            "name": credential.name,
            "kind": credential.kind,
            "allowed_hosts": credential.allowed_hosts,
        }
        change = Change(action, "credential", credential.id, credential.owner_id, details)
        record(self.session, self.caller, change)

    def _form(self, credential: Credential) -> CredentialForm:
        team = None if credential.owner_id == self.caller.id else credential.owner_id
        hidden = {"ciphertext", "key_id", "owner_id"}
        return CredentialForm(**credential.model_dump(exclude=hidden), team=team)


def _taken(name: str) -> Conflict:
    return Conflict(
        f"There is a credential {name!r} already: change that one, or take another name."
    )
