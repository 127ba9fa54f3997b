"""The hash chain, as functions of values: what writes entries and what checks them compute the same.

    hash = HMAC-SHA256(key, canonical JSON of the entry, its time and the hash before it)

The key is derived from SECRET_KEY, so whoever writes to the database alone cannot make an entry. `seq` is not hashed: the
chain itself gives each entry its place, so that one that was moved is told from one that was changed.
"""

import hashlib
import hmac
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final

from app.engine.audit.entry import Chained, Entry
from app.engine.evidence.canonical import canonical

GENESIS: Final = "0" * 64
"""Stands for the hash before the first entry."""


@dataclass(frozen=True, slots=True)
class Head:
    """The newest entry; of an empty log, what comes before the first."""

    seq: int = 0
    hash: str = GENESIS
    at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Anchor:
    """The head at some time, noted outside the database."""

    seq: int
    hash: str
    at: datetime


class Reason(StrEnum):
    """What can be wrong with an entry."""

    CHANGED = "changed"
    """It is not as it was written, or was never written by the platform."""
    MISSING = "missing"
    """It is not there, though later ones are."""
    OUT_OF_ORDER = "out_of_order"
    """It is an entry of the platform, but not the one that belongs here."""
    CUT_TAIL = "cut_tail"
    """It is not there, and none after it, though an anchor tells that it was."""


@dataclass(frozen=True, slots=True)
class Fault:
    """The first entry that does not hold, and why."""

    seq: int
    reason: Reason
    detail: str


def entry_hash(key: bytes, entry: Entry, at: datetime, previous_hash: str) -> str:
    """Return the hash of an entry, in hexadecimal."""
    actor = entry.actor
    facts = {
        "actor": {
            "kind": actor.kind,
            "id": actor.id,
            "email": actor.email,
            "api_key_id": actor.api_key_id,
            "address": actor.address,
        },
        "action": entry.action,
        "target_kind": entry.target_kind,
        "target_id": entry.target_id,
        "owner_id": entry.owner_id,
        "run_id": entry.run_id,
        "details": entry.details,
        "at": at,
        "previous_hash": previous_hash,
    }
    return hmac.new(key, canonical(facts), hashlib.sha256).hexdigest()


def chained(key: bytes, head: Head, entries: Iterable[Entry], now: datetime) -> Sequence[Chained]:
    """Return entries in their places after the head. Their time does not fall behind the head's."""
    at = now if head.at is None else max(now, head.at)
    rows: list[Chained] = []
    previous = head.hash
    for seq, entry in enumerate(entries, head.seq + 1):
        own = entry_hash(key, entry, at, previous)
        rows.append(Chained(seq, at, entry, previous, own))
        previous = own
    return rows


class ChainCheck:
    """Takes entries in by order of `seq`, from the first on, and finds the first one that does not hold.

    `anchors` come in by order of `seq`, too, and must have been noted before the first entry was read.
    """

    def __init__(self, key: bytes, anchors: Iterator[Anchor]) -> None:
        self._key = key
        self._anchors = anchors
        self._anchor = next(anchors, None)
        self.head = Head()
        self.anchored_seq: int | None = None
        """The last entry that an anchor has vouched for."""

    def take(self, row: Chained) -> Fault | None:
        """Return what is wrong with the next entry."""
        fault = self._link_fault(row) or self._anchor_fault(row)
        if fault is None:
            self.head = Head(row.seq, row.hash, row.at)
        return fault

    def finish(self) -> Fault | None:
        """Return what is wrong with the end: entries that were anchored and are not there."""
        anchor = self._anchor
        if anchor is None or anchor.seq <= self.head.seq:
            return None
        detail = f"The log ends at {self.head.seq}, but entry {anchor.seq} was there at {anchor.at.isoformat()}."
        return Fault(self.head.seq + 1, Reason.CUT_TAIL, detail)

    def _link_fault(self, row: Chained) -> Fault | None:
        expected = self.head.seq + 1
        if row.seq > expected:
            detail = f"After entry {self.head.seq} comes {row.seq}."
            return Fault(expected, Reason.MISSING, detail)
        if row.seq < expected:
            detail = "Entries count from 1."
            return Fault(row.seq, Reason.OUT_OF_ORDER, detail)
        own = entry_hash(self._key, row.entry, row.at, row.previous_hash)
        if not hmac.compare_digest(own, row.hash):
            detail = "Its hash is not that of what it says: it was changed or forged, or SECRET_KEY was another."
            return Fault(row.seq, Reason.CHANGED, detail)
        if row.previous_hash != self.head.hash:
            detail = "It follows another entry than the one before it: some were moved, replaced or taken out."
            return Fault(row.seq, Reason.OUT_OF_ORDER, detail)
        return None

    def _anchor_fault(self, row: Chained) -> Fault | None:
        while self._anchor is not None and self._anchor.seq <= row.seq:
            anchor, self._anchor = self._anchor, next(self._anchors, None)
            if anchor.seq == row.seq and anchor.hash != row.hash:
                detail = (
                    f"It is not the entry that was anchored at {anchor.at.isoformat()}: "
                    "it, or some before it, were cut off or written anew."
                )
                return Fault(row.seq, Reason.CHANGED, detail)
            if anchor.seq == row.seq:
                self.anchored_seq = anchor.seq
        return None
