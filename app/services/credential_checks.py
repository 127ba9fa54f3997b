"""Credentials that a definition names: they must be there, among those of the workflow's owner, and fit."""

from collections.abc import Iterator, Mapping

from sqlmodel import Session, col, select

from app.core.errors import Problem
from app.core.permissions import TeamRole
from app.engine.language.plan import CredentialUse, Plan
from app.engine.language.problems import nearest
from app.models import Credential
from app.services.access import owner_role
from app.services.callers import Caller

MAX_NAMES = 1_000
ANOTHERS = (
    "Steps that use a credential of the workflow's owner are saved by the owner alone: ask them to, or to give the workflow to a "
    "team that you are in."
)


def credential_problems(
    session: Session, caller: Caller, owner_id: str, plan: Plan
) -> Iterator[Problem]:
    """Yield a problem for each credential that the owner does not have, or that does not fit where it is named.

    Whoever edits through a share uses none of the owner's: they could send it anywhere it may go.
    """
    uses = [*plan.credential_uses]
    role = owner_role(caller, owner_id)
    if role is None or not role.includes(TeamRole.EDITOR):
        yield from (Problem(use.at, "not_your_credential", ANOTHERS) for use in uses)
        return
    kinds = _kinds(session, owner_id, {use.name for use in uses}) if uses else {}
    missing = {use.name for use in uses} - kinds.keys()
    names = _names(session, owner_id) if missing else []
    for use in uses:
        if use.name in missing:
            yield _missing(use, names)
        elif use.kinds and kinds[use.name] not in use.kinds:
            detail = f"The credential {use.name!r} is of kind {kinds[use.name]}; this takes {', '.join(use.kinds)}."
            yield Problem(use.at, "wrong_credential_kind", detail)


def _missing(use: CredentialUse, names: list[str]) -> Problem:
    detail = (
        f"The workflow's owner has no credential {use.name!r}.{nearest(use.name, names)} "
        "Make it with POST /api/v1/credentials."
    )
    return Problem(use.at, "unknown_credential", detail)


def _kinds(session: Session, owner_id: str, names: set[str]) -> Mapping[str, str]:
    query = select(Credential.name, Credential.kind).where(
        Credential.owner_id == owner_id, col(Credential.name).in_(names)
    )
    return dict(session.exec(query).all())


def _names(session: Session, owner_id: str) -> list[str]:
    query = select(Credential.name).where(Credential.owner_id == owner_id).limit(MAX_NAMES)
    return [*session.exec(query)]
