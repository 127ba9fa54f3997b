"""What operators may stop, and let go on. Rows stay: they are the history."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal

from sqlalchemy import text
from sqlmodel import Session, col, select
from sqlmodel.sql.expression import SelectOfScalar

from app.core.errors import InvalidInput, NotFound, Problem
from app.core.ids import new_id, parse_id
from app.core.statuses import SwitchMode, SwitchScope
from app.engine.audit.entry import Actor
from app.engine.language.catalogue import NodeCatalogue
from app.engine.language.problems import nearest
from app.engine.store import database_now
from app.models import KillSwitch, User, Workflow
from app.schemas.kill_switch import KillSwitchDraft, KillSwitchForm
from app.services.audit import Change, record
from app.services.callers import Caller
from app.services.pages import MAX_LIMIT, newest_first

COMMAND_LINE: Final = "command line"
NO_REASON: Final = "an operator has stopped the platform"
Mode = Literal["normal", "drain", "halt"]


@dataclass(frozen=True, slots=True)
class KillSwitches:
    """What an operator may do to kill switches, over HTTP or at the command line. `session` is one of `transaction`."""

    session: Session
    caller: Caller | Actor
    catalogue: NodeCatalogue

    def list(
        self, *, active: bool, limit: int, cursor: str | None
    ) -> tuple[Sequence[KillSwitchForm], str | None]:
        """Return a page of switches, newest first, and the next page's cursor; `active` leaves out the history."""
        query = select(KillSwitch)
        now = self._now()
        if active:
            query = _still_set(query, now)
        rows, next_cursor = newest_first(self.session, query, KillSwitch.id, limit, cursor)
        return [_form(row, now) for row in rows], next_cursor

    def get(self, switch_id: str) -> KillSwitchForm:
        """Return a switch.

        Raises:
            NotFound: there is none.
        """
        return _form(self._require(switch_id), self._now())

    def set(self, draft: KillSwitchDraft) -> KillSwitchForm:
        """Stop something, from the commit on.

        Raises:
            InvalidInput: there is no such target, or its time is over already.
        """
        now = self._now()
        if draft.expires_at is not None and draft.expires_at <= now:
            raise _invalid(
                "/expires_at", "in_the_past", "`expires_at` is over: give a time to come."
            )
        switch = KillSwitch(
            id=new_id(),
            scope=draft.scope,
            target=self._target(draft),
            mode=draft.mode,
            reason=draft.reason,
            created_by=self._by,
            created_at=now,
            expires_at=draft.expires_at,
        )
        self.session.add(switch)
        self.session.flush()
        self._record("kill_switch.set", switch)
        return _form(switch, now)

    def lift(self, switch_id: str) -> KillSwitchForm:
        """Let go on what a switch has stopped; one that is lifted already stays as it is.

        Raises:
            NotFound: there is none.
        """
        switch = self._require(switch_id, lock=True)
        self._lift([switch])
        return _form(switch, self._now())

    def set_all(self, mode: SwitchMode, reason: str | None) -> Sequence[KillSwitchForm]:
        """Stop everything; what is stopped already in this mode stays as it is. Returns the global switches."""
        self._hold_all()
        found = self._global()
        if not any(switch.mode is mode for switch in found):
            draft = KillSwitchDraft(scope=SwitchScope.ALL, mode=mode, reason=reason or NO_REASON)
            self.set(draft)
        now = self._now()
        return [_form(switch, now) for switch in self._global()]

    def lift_all(self) -> Sequence[KillSwitchForm]:
        """Lift every global switch; returns those that are left: none."""
        self._hold_all()
        self._lift(self._global())
        return []

    def _hold_all(self) -> None:
        """Let nobody else set or lift a switch before the commit: two at once would both find the same ones set, or none."""
        if self.session.get_bind().dialect.name == "postgresql":  # SQLite has one writer at a time
            self.session.execute(text("LOCK TABLE kill_switches IN EXCLUSIVE MODE"))

    def _global(self) -> Sequence[KillSwitch]:
        query = select(KillSwitch).where(KillSwitch.scope == SwitchScope.ALL)
        return self.session.exec(
            _still_set(query, self._now()).order_by(col(KillSwitch.id).desc())
        ).all()

    def _lift(self, switches: Iterable[KillSwitch]) -> None:
        now = self._now()
        for switch in switches:
            if switch.lifted_at is None:
                switch.lifted_at, switch.lifted_by = now, self._by
                self.session.add(switch)
                self._record("kill_switch.lifted", switch)
        self.session.flush()

    def _require(self, switch_id: str, *, lock: bool = False) -> KillSwitch:
        switch = self.session.get(KillSwitch, switch_id, with_for_update=lock)
        if switch is None:
            raise NotFound(f"There is no kill switch {switch_id}.")
        return switch

    def _target(self, draft: KillSwitchDraft) -> str | None:
        """Return the target as switches are held against it."""
        if draft.scope is SwitchScope.ALL:
            if draft.target is not None:
                raise _invalid("/target", "unexpected", "Leave `target` out: the scope is `all`.")
            return None
        if not draft.target:
            detail = f"Say which {draft.scope.value} to stop: give its `target`."
            raise _invalid("/target", "missing_field", detail)
        return self._find(draft.scope, draft.target)

    def _find(self, scope: SwitchScope, target: str) -> str:
        if scope is SwitchScope.NODE_TYPE:
            return self._node_type(target)
        if scope is SwitchScope.CREDENTIAL:
            return parse_id(target) or target
        if scope is SwitchScope.USER:
            found = (
                User.id == parse_id(target) if parse_id(target) else User.email == target.lower()
            )
            user_id = self.session.exec(select(User.id).where(found)).first()
            if user_id is None:
                raise _invalid("/target", "unknown_user", f"There is no user {target}.")
            return user_id
        target_id = parse_id(target)
        if target_id is None:
            detail = f"The `target` of a {scope.value} is its id."
            raise _invalid("/target", "invalid_id", detail)
        if scope is SwitchScope.WORKFLOW and self.session.get(Workflow, target_id) is None:
            raise _invalid("/target", "unknown_workflow", f"There is no workflow {target}.")
        return target_id

    def _node_type(self, name: str) -> str:
        if self.catalogue.find(name) is None:
            near = nearest(name, self.catalogue.names())
            detail = f"There is no node type {name!r}.{near} GET /api/v1/nodes lists all."
            raise _invalid("/target", "unknown_node_type", detail)
        return name

    @property
    def _by(self) -> str:
        return self.caller.email or COMMAND_LINE

    def _now(self) -> datetime:
        """Return the database's time, by which workers judge what has expired."""
        return database_now(self.session.connection())

    def _record(self, action: str, switch: KillSwitch) -> None:
        details = {
            "scope": switch.scope,
            "target": switch.target,
            "mode": switch.mode,
            "reason": switch.reason,
        }
        record(self.session, self.caller, Change(action, "kill_switch", switch.id, details=details))


def set_switches(session: Session, now: datetime) -> list[KillSwitchForm]:
    """Return the switches that are set, newest first."""
    query = _still_set(select(KillSwitch), now).order_by(col(KillSwitch.id).desc())
    return [_form(row, now) for row in session.exec(query.limit(MAX_LIMIT)).all()]


def global_mode(switches: Iterable[KillSwitchForm]) -> Mode:
    """Return what the global switches make of the platform: the stricter one counts."""
    modes = {switch.mode for switch in switches if switch.scope is SwitchScope.ALL}
    if SwitchMode.HALT in modes:
        return "halt"
    return "drain" if modes else "normal"


def _still_set(query: SelectOfScalar[KillSwitch], now: datetime) -> SelectOfScalar[KillSwitch]:
    expires = col(KillSwitch.expires_at)
    return query.where(col(KillSwitch.lifted_at).is_(None), expires.is_(None) | (expires > now))


def _form(row: KillSwitch, now: datetime) -> KillSwitchForm:
    expired = row.expires_at is not None and row.expires_at <= now
    return KillSwitchForm(**row.model_dump(), active=row.lifted_at is None and not expired)


def _invalid(pointer: str, code: str, detail: str) -> InvalidInput:
    return InvalidInput(detail, [Problem(pointer, code, detail)])
