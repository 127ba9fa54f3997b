"""Approvals: what I am to decide, what I may see, and one-time links for people without an account."""

import hashlib
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

import orjson
from sqlalchemy import Row
from sqlmodel import Session, col, select

from app.core.errors import Conflict, InvalidInput, NotFound, PermissionDenied, Problem
from app.core.permissions import TeamRole
from app.core.statuses import ActorKind, ApprovalStatus
from app.engine.approvals import deciding, rules, store
from app.engine.approvals.deciding import Wish
from app.engine.approvals.rules import Asked, Person
from app.engine.audit.entry import Actor
from app.engine.language.input_schema import input_problems
from app.engine.store import database_now
from app.models import Approval, Approver, Run, TeamName
from app.schemas.approval import (
    ApprovalForm,
    DecisionForm,
    DecisionRequest,
    LinkDecision,
    LinkedApproval,
    LinkRequest,
)
from app.services.access import role_on
from app.services.approval_starters import asked_by_policy, may_have_started, still_mine
from app.services.audit import Change, record
from app.services.callers import Caller
from app.services.pages import newest_first

TOKEN_BYTES: Final = 32
MAX_FORM_BYTES: Final = 64 * 1024
HandOn = Callable[[Sequence[str]], None]
"""Hands runs on to workers, once what was done is committed."""


@dataclass(frozen=True, slots=True)
class Approvals:
    """What a user is asked, and may ask others."""

    session: Session
    caller: Caller
    hand_on: HandOn

    def list(
        self, status: ApprovalStatus | None, limit: int, cursor: str | None
    ) -> tuple[Sequence[ApprovalForm], str | None]:
        """Return a page of what I am, or was, asked, newest first; of `pending` ones, those that I can still decide."""
        names = self._person(None).names
        mine = select(Approver.approval_id).where(col(Approver.approver).in_(names))
        query = select(Approval).where(col(Approval.id).in_(mine))
        if status is not None:
            query = query.where(Approval.status == status)
        if status is ApprovalStatus.PENDING:
            query = query.where(still_mine(self.session, self.caller))
        found, next_cursor = newest_first(self.session, query, Approval.id, limit, cursor)
        return self._forms(found), next_cursor

    def get(self, approval_id: str) -> ApprovalForm:
        """Return an approval that I am asked, or that a run asks for which I may read.

        Raises:
            NotFound: there is none, or it is neither.
        """
        asked = self._asked(approval_id)
        rules.require_sight(asked, self._person(asked))
        (form,) = self._forms([self.session.get_one(Approval, approval_id)])
        return form

    def decide(
        self, approval_id: str, decision: ApprovalStatus, request: DecisionRequest
    ) -> ApprovalForm:
        """Approve or reject, once.

        Raises:
            NotFound: there is no such approval, or I am no approver and may not read the run.
            PermissionDenied: I am no approver, or have started the run (or may have, when a policy asks).
            Conflict: it is over, I have decided already, or have seen something else.
            InvalidInput: the form does not fit.
        """
        person, wish = self._person(self._asked(approval_id)), _wish(decision, request)
        asked = _decide(self.session, self.hand_on, approval_id, person, wish)
        record(self.session, self.caller, _decided(asked, wish))
        return self.get(approval_id)

    def make_link(self, approval_id: str, request: LinkRequest) -> tuple[str, datetime]:
        """Return the token of a new link, and until when it can be used.

        Raises:
            NotFound: there is no such approval, or I am no approver and may not read the run.
            PermissionDenied: I am no editor of the run's workflow, or a policy asks.
            Conflict: the approval is over.
            InvalidInput: the link is for nobody who is asked.
        """
        found = self._asked(approval_id)
        asked = rules.require_sight(found, self._person(found))
        has = role_on(self.session, self.caller, self.session.get_one(Run, asked.run_id))
        if has is None or not has.includes(TeamRole.EDITOR):
            raise PermissionDenied("Only the owner and editors of the workflow make links.")
        if asked_by_policy(self.session, asked):  # they could use the link themselves
            raise PermissionDenied(
                "A policy asks for this approval: its approvers log in to decide."
            )
        if asked.status is not ApprovalStatus.PENDING:
            raise Conflict(f"This approval is {asked.status.value} already: no link is needed.")
        if request.approver not in asked.approvers:
            detail = f"{request.approver} is not among the approvers by e-mail address: GET /api/v1/approvals/{asked.id} lists them."
            raise InvalidInput(detail, [Problem("/approver", "unknown_approver", detail)])
        connection, token = self.session.connection(), secrets.token_urlsafe(TOKEN_BYTES)
        expires_at = database_now(connection) + timedelta(seconds=request.expires_in_seconds)
        store.ADD_LINK.run(
            connection,
            token_hash=_hash(token),
            approval_id=asked.id,
            approver=request.approver,
            created_by=self.caller.id,
            expires_at=expires_at,
        )
        details = {"approver": request.approver, "expires_at": expires_at}
        record(self.session, self.caller, _change("approval_link.created", asked, details))
        return token, expires_at

    def _person(self, asked: Asked | None) -> Person:
        """Return the caller as somebody who is asked; what they see is found for one approval."""
        run = None if asked is None else self.session.get(Run, asked.run_id)
        return Person(
            self.caller.email,
            self.caller.role.value,
            self.caller.id,
            frozenset(self._team_names()),
            run is not None and role_on(self.session, self.caller, run) is not None,
            asked is not None and may_have_started(self.session, self.caller, asked),
        )

    def _team_names(self) -> Sequence[str]:
        if not self.caller.teams:
            return ()
        query = select(TeamName.name).where(col(TeamName.team_id).in_(self.caller.teams))
        return self.session.exec(query).all()

    def _asked(self, approval_id: str) -> Asked | None:
        return deciding.load(self.session.connection(), approval_id)

    def _forms(self, rows: Sequence[Approval]) -> Sequence[ApprovalForm]:
        decisions: dict[str, list[DecisionForm]] = {row.id: [] for row in rows}
        wanted = [{"id": approval_id} for approval_id in decisions]
        for row in store.LOAD_DECISIONS.run(self.session.connection(), wanted):
            form = DecisionForm.model_validate(row._asdict())
            decisions[row.approval_id].append(form)
        return [
            ApprovalForm.model_validate(
                {**row.model_dump(), "step": row.path, "decisions": decisions[row.id]}
            )
            for row in rows
        ]


@dataclass(frozen=True, slots=True)
class ApprovalLinks:
    """What whoever has a one-time link may see and decide. The link is the proof of who they are."""

    session: Session
    hand_on: HandOn
    address: str | None = None
    """Where the request came from."""

    def show(self, token: str) -> LinkedApproval:
        """Return what is asked. Nothing is decided by looking.

        Raises:
            NotFound: there is no such link.
            Conflict: it was used, or has expired.
        """
        link = self._usable(token)
        asked = self._asked(link)
        return _linked(asked, link.approver)

    def decide(self, token: str, request: LinkDecision) -> LinkedApproval:
        """Decide as the link's approver; the link is used up by that.

        Raises:
            NotFound: there is no such link, or its approver is not asked any more.
            PermissionDenied: its approver has started the run.
            Conflict: the link was used or has expired, or the approval is over.
            InvalidInput: the form does not fit.
        """
        link = self._usable(token)
        decision = (
            ApprovalStatus.APPROVED if request.decision == "approve" else ApprovalStatus.REJECTED
        )
        person, wish = Person(link.approver), _wish(decision, request)
        asked = _decide(self.session, self.hand_on, link.approval_id, person, wish)
        by = Actor(ActorKind.LINK, email=link.approver, address=self.address)
        record(self.session, by, _decided(asked, wish))
        connection = self.session.connection()
        if not store.USE_LINK.run(
            connection, token_hash=_hash(token), now=database_now(connection)
        ):
            raise Conflict(USED)
        return _linked(self._asked(link), link.approver)

    def _usable(self, token: str) -> Row[Any]:
        connection = self.session.connection()
        found = store.FIND_LINK.run(connection, token_hash=_hash(token))
        if not found:
            raise NotFound("There is no such link: ask whoever sent it for another one.")
        if found[0].used_at is not None:
            raise Conflict(USED)
        if found[0].expires_at <= database_now(connection):
            raise Conflict("This link has expired: ask whoever sent it for another one.")
        return found[0]

    def _asked(self, link: Row[Any]) -> Asked:
        asked = deciding.load(self.session.connection(), link.approval_id)
        return rules.require_sight(asked, Person(link.approver))


USED: Final = "This link was used already: it decides once."


def _decide(
    session: Session, hand_on: HandOn, approval_id: str, person: Person, wish: Wish
) -> Asked:
    connection = session.connection()
    now = database_now(connection)
    asked = rules.require_sight(deciding.load(connection, approval_id), person)
    rules.require_open(asked, person, wish.shown_hash, now)
    # Before the run is held: a schema can take long, and does not change.
    _require_form(asked.form, wish)
    run_ids = deciding.take(connection, asked, person, wish, now)
    if run_ids:
        hand_on(run_ids)
    return asked


def _decided(asked: Asked, wish: Wish) -> Change:
    details = {"step": asked.path, "shown_hash": asked.shown_hash}
    return _change(f"approval.{wish.decision}", asked, details)


def _change(action: str, asked: Asked, details: dict[str, Any]) -> Change:
    return Change(action, "approval", asked.id, asked.owner_id, details, asked.run_id)


def _wish(decision: ApprovalStatus, request: DecisionRequest) -> Wish:
    return Wish(decision, request.comment, request.form, request.shown_hash)


def _require_form(schema: Mapping[str, Any] | None, wish: Wish) -> None:
    if problems := _form_problems(schema, wish):
        raise InvalidInput("The form does not fit: mend what `errors` lists.", problems)


def _form_problems(schema: Mapping[str, Any] | None, wish: Wish) -> Sequence[Problem]:
    value = wish.form
    if schema is None:
        if value is None:
            return ()
        return [Problem("/form", "unknown_field", "This approval asks for no form: leave it out.")]
    if value is None and wish.decision is ApprovalStatus.REJECTED:
        return ()
    if len(orjson.dumps(value)) > MAX_FORM_BYTES:
        detail = f"The form is larger than {MAX_FORM_BYTES // 1024} KiB: send less."
        return [Problem("/form", "invalid_input", detail)]
    return [
        Problem(f"/form{problem.pointer}", problem.code, problem.detail)
        for problem in input_problems(schema, {} if value is None else value)
    ]


def _linked(asked: Asked, approver: str) -> LinkedApproval:
    return LinkedApproval(
        approval_id=asked.id,
        approver=approver,
        status=asked.status,
        prompt=asked.prompt,
        form=asked.form,
        shown_hash=asked.shown_hash,
        due_at=asked.due_at,
    )


def _hash(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()
