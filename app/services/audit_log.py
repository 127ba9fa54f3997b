"""Read the audit log: all of it for operators, what concerns them for everybody else."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from sqlalchemy import ColumnElement, Engine, func, or_
from sqlmodel import Session, col, select
from sqlmodel.sql.expression import SelectOfScalar

from app.core.errors import InvalidInput
from app.core.ids import parse_id
from app.db.session import reading
from app.engine.audit import store
from app.models import AuditEntry
from app.schemas.audit import AuditEntryForm, entry_form
from app.services.callers import Caller
from app.services.pages import decode_cursor, encode_cursor

ROWS_AT_ONCE: Final = 500
LAST_seq: Final = 2**63 - 1
AFTER_A_PREFIX: Final = "\U0010ffff"
_seq = col(AuditEntry.seq)


@dataclass(frozen=True, slots=True)
class AuditFilter:
    """Which entries; everything that is given must fit."""

    actor: str | None = None
    """An account's id, or an e-mail address."""
    action: str | None = None
    """How it begins."""
    target_kind: str | None = None
    target_id: str | None = None
    owner_id: str | None = None
    run_id: str | None = None
    since: datetime | None = None
    until: datetime | None = None

    def conditions(self) -> Iterator[ColumnElement[bool]]:
        """Yield what a row must fulfil."""
        for name in ("target_kind", "target_id", "owner_id", "run_id"):
            value = getattr(self, name)
            if value is not None:
                yield col(getattr(AuditEntry, name)) == value
        if self.actor is not None:
            yield _by(self.actor)
        if self.action is not None:
            action = col(AuditEntry.action)
            yield action.between(self.action, self.action + AFTER_A_PREFIX)
        # Times never fall from one entry to the next: they are bounds of `seq`, by which lists go.
        if self.since is not None:
            yield _seq >= _first_at(self.since)
        if self.until is not None:
            yield _seq < func.coalesce(_first_at(self.until), LAST_seq)


@dataclass(frozen=True, slots=True)
class AuditLog:
    """What a caller may read of the audit log."""

    session: Session
    caller: Caller
    wanted: AuditFilter = field(default_factory=AuditFilter)

    def all(self, limit: int, cursor: str | None) -> tuple[Sequence[AuditEntryForm], str | None]:
        """Return a page of the entries that are wanted, newest first; for those who may read all.

        Raises:
            InvalidInput: the cursor is none that we gave.
        """
        return self._page(entries(self.wanted), limit, cursor)

    def mine(self, limit: int, cursor: str | None) -> tuple[Sequence[AuditEntryForm], str | None]:
        """Return a page of what was done by me, or to what I or my teams own, newest first.

        Where others came from is told of what is done to my own account and things alone, not of what is a team's.

        Raises:
            InvalidInput: the cursor is none that we gave.
        """
        concerns_me = or_(
            col(AuditEntry.owner_id).in_(sorted(self.caller.owners)),
            col(AuditEntry.actor_id) == self.caller.id,
        )
        page, next_cursor = self._page(entries(self.wanted).where(concerns_me), limit, cursor)
        return [self._without_addresses(form) for form in page], next_cursor

    def _page(
        self, query: SelectOfScalar[AuditEntry], limit: int, cursor: str | None
    ) -> tuple[Sequence[AuditEntryForm], str | None]:
        before = LAST_seq if cursor is None else decode_cursor(cursor, _read_seq)
        query = query.where(_seq < before).order_by(_seq.desc()).limit(limit + 1)
        rows = self.session.exec(query).all()
        next_cursor = encode_cursor(b"%d" % rows[limit - 1].seq) if len(rows) > limit else None
        return [entry_form(row) for row in rows[:limit]], next_cursor

    def _without_addresses(self, form: AuditEntryForm) -> AuditEntryForm:
        if self.caller.id not in {form.actor.id, form.owner_id}:
            form.actor.address = None
        return form


def entries(wanted: AuditFilter) -> SelectOfScalar[AuditEntry]:
    """Return the query for the entries that are wanted."""
    return select(AuditEntry).where(*wanted.conditions())


def exported(engine: Engine, wanted: AuditFilter) -> Iterator[bytes]:
    """Return the entries that are wanted, in order, as JSON lines: some at a time, each lot in a short transaction.

    Raises:
        InvalidInput: a filter cannot be used; at once, while there is still an answer to put it in.
    """
    return _lots(engine, entries(wanted))


def _lots(engine: Engine, query: SelectOfScalar[AuditEntry]) -> Iterator[bytes]:
    after = store.BEFORE_ALL
    while True:
        lot = query.where(_seq > after).order_by(_seq).limit(ROWS_AT_ONCE)
        with reading(engine) as connection, Session(connection) as session:
            rows = session.exec(lot).all()
        if not rows:
            return
        after = rows[-1].seq
        yield "".join(f"{entry_form(row).model_dump_json()}\n" for row in rows).encode()


def _by(actor: str) -> ColumnElement[bool]:
    known = parse_id(actor)
    if known is not None:
        return col(AuditEntry.actor_id) == known
    if "@" not in actor:
        raise InvalidInput("`actor` is neither an account's id nor an e-mail address.")
    return col(AuditEntry.actor_email) == actor.strip().lower()


def _first_at(time: datetime) -> Any:
    at = col(AuditEntry.at)
    return select(_seq).where(at >= time).order_by(at, _seq).limit(1).scalar_subquery()


def _read_seq(raw: bytes) -> int:
    seq = int(raw)
    if not 0 < seq <= LAST_seq:
        raise ValueError(seq)
    return seq
