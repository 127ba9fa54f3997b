"""The chain shows every change, and says at which entry."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from app.core.statuses import ActorKind
from app.engine.audit.chain import GENESIS, Anchor, ChainCheck, Fault, Head, Reason, chained
from app.engine.audit.entry import SYSTEM, Actor, Chained, Entry

KEY = b"k" * 32
NOW = datetime(2026, 11, 21, 20, 0, 0, 123456, tzinfo=UTC)
ADA = Actor(ActorKind.USER, "019aa4c2-6f10-7c3e-9d52-3b1f7a8e4c11", "ada@example.com")
Tamper = Callable[[list[Chained]], list[Chained]]


def _log(count: int = 6) -> list[Chained]:
    entries = [Entry(ADA, "workflow.created", "workflow", str(n)) for n in range(count)]
    return list(chained(KEY, Head(), entries, NOW))


def _fault(rows: Sequence[Chained], *anchors: Anchor, key: bytes = KEY) -> Fault | None:
    check = ChainCheck(key, iter(anchors))
    for row in rows:
        fault = check.take(row)
        if fault is not None:
            return fault
    return check.finish()


def _anchor(row: Chained) -> Anchor:
    return Anchor(row.seq, row.hash, row.at)


def _changed(rows: list[Chained]) -> list[Chained]:
    entry = replace(rows[2].entry, target_id="another")
    return [*rows[:2], replace(rows[2], entry=entry), *rows[3:]]


def _backdated(rows: list[Chained]) -> list[Chained]:
    return [*rows[:2], replace(rows[2], at=NOW - timedelta(days=1)), *rows[3:]]


def _without_the_third(rows: list[Chained]) -> list[Chained]:
    return [*rows[:2], *rows[3:]]


def _renumbered(rows: list[Chained]) -> list[Chained]:
    return [replace(row, seq=seq) for seq, row in enumerate(_without_the_third(rows), 1)]


def _swapped(rows: list[Chained]) -> list[Chained]:
    third, fourth = replace(rows[3], seq=3), replace(rows[2], seq=4)
    return [*rows[:2], third, fourth, *rows[4:]]


def _with_a_forged_one(rows: list[Chained]) -> list[Chained]:
    forged = replace(
        rows[2], entry=Entry(SYSTEM, "user.role_changed", "user", "eve"), hash="f" * 64
    )
    return [*rows[:2], forged, *(replace(row, seq=row.seq + 1) for row in rows[2:])]


def _with_one_that_comes_twice(rows: list[Chained]) -> list[Chained]:
    return [*rows[:2], replace(rows[0], seq=3), *(replace(r, seq=r.seq + 1) for r in rows[2:])]


@pytest.mark.parametrize(
    ("tamper", "seq", "reason"),
    [
        (_changed, 3, Reason.CHANGED),
        (_backdated, 3, Reason.CHANGED),
        (_without_the_third, 3, Reason.MISSING),
        (_renumbered, 3, Reason.OUT_OF_ORDER),
        (_swapped, 3, Reason.OUT_OF_ORDER),
        (_with_a_forged_one, 3, Reason.CHANGED),
        (_with_one_that_comes_twice, 3, Reason.OUT_OF_ORDER),
        (lambda rows: rows[1:], 1, Reason.MISSING),
        (lambda rows: [replace(rows[0], seq=0), *rows], 0, Reason.OUT_OF_ORDER),
    ],
)
def test_whatever_is_done_to_it_the_first_bad_entry_is_named(
    tamper: Tamper, seq: int, reason: Reason
) -> None:
    fault = _fault(tamper(_log()))

    assert fault is not None
    assert (fault.seq, fault.reason) == (seq, reason)


def test_an_untouched_log_holds_also_when_it_is_empty() -> None:
    rows = _log()

    assert _fault(rows, _anchor(rows[1]), _anchor(rows[5])) is None
    assert _fault([]) is None
    assert rows[0].previous_hash == GENESIS


def test_a_tail_that_was_cut_off_shows_by_the_anchors() -> None:
    rows = _log()

    fault = _fault(rows[:4], _anchor(rows[1]), _anchor(rows[5]))

    assert fault is not None
    assert (fault.seq, fault.reason) == (5, Reason.CUT_TAIL)
    assert "entry 6 was there" in fault.detail


def test_a_tail_that_was_written_anew_shows_by_the_anchors() -> None:
    rows = _log()
    head = Head(4, rows[3].hash, NOW)
    anew = chained(KEY, head, [Entry(SYSTEM, "a.b", "c", str(n)) for n in range(4)], NOW)

    fault = _fault([*rows[:4], *anew], _anchor(rows[5]))

    assert fault is not None
    assert (fault.seq, fault.reason) == (6, Reason.CHANGED)


def test_without_the_key_nobody_chains_on() -> None:
    rows = _log(2)
    head = Head(2, rows[1].hash, NOW)

    forged = chained(b"x" * 32, head, [Entry(SYSTEM, "a.b", "c", "d")], NOW)
    fault = _fault([*rows, *forged])

    assert fault is not None
    assert (fault.seq, fault.reason) == (3, Reason.CHANGED)


def test_time_does_not_fall_when_the_clock_is_set_back() -> None:
    head = Head(7, "0" * 64, NOW)

    (row,) = chained(KEY, head, [Entry(SYSTEM, "a.b", "c", "d")], NOW - timedelta(hours=1))

    assert (row.seq, row.at) == (8, NOW)
