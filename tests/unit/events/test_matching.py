"""Which waits an event ends: by owner, type, correlation and filter; fresh ones end all, kept ones the first."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.engine.events.matching import (
    Event,
    EventWait,
    FilterFault,
    assign,
    find_candidates,
    public_id,
    starts,
)

NOW = datetime(2026, 11, 21, tzinfo=UTC)
EVENT = Event("e1", "ada", "paid", "A-1", {"amount": 42}, NOW)
WAIT = EventWait(("r1", "wait", 1), "ada", "paid", "A-1", None, NOW)


def _deferred(source: str, **scope: Any) -> dict[str, Any]:
    return {"source": source, "scope": scope}


def _fits(event: Event, wait: EventWait) -> bool:
    faults: list[FilterFault] = []
    found = find_candidates([event], [wait], faults.append)
    return bool(found)


def test_type_owner_and_correlation_must_be_equal() -> None:
    assert _fits(EVENT, WAIT)
    assert not _fits(replace(EVENT, owner_id="bob"), WAIT)
    assert not _fits(replace(EVENT, type="refunded"), WAIT)
    assert not _fits(replace(EVENT, correlation_id="A-2"), WAIT)
    assert not _fits(replace(EVENT, correlation_id=None), WAIT)


def test_a_wait_that_names_no_correlation_id_takes_any() -> None:
    wait = replace(WAIT, correlation_id=None)

    assert _fits(EVENT, wait)
    assert _fits(replace(EVENT, correlation_id=None), wait)


@pytest.mark.parametrize(
    ("source", "fits"),
    [
        ("event.payload.amount == total", True),
        ("event.payload.amount > total", False),
        ("event.id == 'e1' && event.type == 'paid' && event.correlation_id == 'A-1'", True),
        ("event.received_at.starts_with('2026-11-21T00:00:00')", True),
    ],
)
def test_a_filter_sees_the_event_and_what_was_kept_of_the_scope(source: str, fits: bool) -> None:
    wait = replace(WAIT, filter=_deferred(source, total=42))

    assert _fits(EVENT, wait) is fits


@pytest.mark.parametrize(
    "source", ["event.payload.nope > 1", "event.payload.amount", "nope", "range(100000).map(x, x)"]
)
def test_a_filter_that_does_not_decide_is_no_match_and_is_told(source: str) -> None:
    faults: list[FilterFault] = []

    try:
        found = find_candidates([EVENT], [replace(WAIT, filter=_deferred(source))], faults.append)
    except Exception as error:  # noqa: BLE001 - nothing may reach the publisher
        pytest.fail(f"{error!r} reached the publisher")

    assert found == {}
    assert len(faults) == 1


def test_a_fresh_event_ends_all_a_kept_one_the_first() -> None:
    waits = [
        replace(WAIT, key=(f"r{n}", "wait", 1), created_at=NOW - timedelta(seconds=n))
        for n in range(3)
    ]
    keys = frozenset(wait.key for wait in waits)
    candidates = find_candidates([EVENT], waits, lambda _: None)

    fresh = assign([EVENT], candidates, keys)
    kept = assign([replace(EVENT, fresh=False)], candidates, keys)

    assert len(fresh["e1"]) == 3
    assert [wait.key[0] for wait in kept["e1"]] == ["r2"]


def test_the_oldest_event_comes_first_and_an_ended_wait_takes_none() -> None:
    old = replace(EVENT, row_id="e0", received_at=NOW - timedelta(seconds=1))
    candidates = find_candidates([EVENT, old], [WAIT], lambda _: None)

    both = assign([EVENT, old], candidates, frozenset({WAIT.key}))
    none = assign([EVENT, old], candidates, frozenset())

    assert list(both) == ["e0"]
    assert none == {}


@given(
    st.lists(st.tuples(st.sampled_from("ab"), st.booleans()), max_size=8),
    st.lists(st.sampled_from(["a", "b", None]), max_size=8),
)
def test_no_wait_ends_twice_and_no_event_that_fits_an_open_wait_is_left(
    arrived: list[tuple[str, bool]], waiting: list[str | None]
) -> None:
    events = [
        replace(EVENT, row_id=f"e{n}", correlation_id=text, fresh=fresh)
        for n, (text, fresh) in enumerate(arrived)
    ]
    waits = [
        replace(WAIT, key=(f"r{n}", "wait", 1), correlation_id=text)
        for n, text in enumerate(waiting)
    ]
    candidates = find_candidates(events, waits, lambda _: None)

    assigned = assign(events, candidates, frozenset(wait.key for wait in waits))

    ended = [wait.key for taken in assigned.values() for wait in taken]
    assert len(ended) == len(set(ended))
    for event in events:
        taken = assigned.get(event.row_id, [])
        assert event.fresh or len(taken) <= 1
        if not taken:
            assert all(wait.key in ended for wait in candidates.get(event.row_id, []))


def test_people_see_the_publishers_own_id() -> None:
    assert public_id("row", "id:pay_1") == "pay_1"
    assert public_id("row", "id:key:1") == "key:1"
    assert public_id("row", "key:pay_1") == "row"
    assert public_id("row", None) == "row"


def test_a_workflow_starts_on_what_its_filter_lets_through() -> None:
    assert starts(EVENT, None)
    assert starts(EVENT, "event.payload.amount == 42")
    assert not starts(EVENT, "event.payload.amount == 43")
    assert not starts(EVENT, "event.payload.amount")
