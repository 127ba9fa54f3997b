"""Sliding windows: what one process lets through, what several do together, and what is left when Redis is away."""

import threading
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

import pytest
import redis
from limits import parse

from app.core.addresses import address_of, counted_as, network_of
from app.core.config import Settings
from app.core.errors import ConfigurationError
from app.services import rate_limits, shared_rates
from app.services.rate_limits import Counted, RateLimits

Key = tuple[Counted, str, int]
START = datetime(2026, 1, 1, tzinfo=UTC)


class Hands:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.time = START

    def now(self) -> datetime:
        return self.time

    def monotonic(self) -> float:
        return self.time.timestamp()

    def go(self, seconds: float) -> None:
        self.time += timedelta(seconds=seconds)


class Shelf:
    """What all processes share, without a server."""

    def __init__(self) -> None:
        self.counts: dict[Key, int] = {}
        self.away = False
        self.asked = threading.Event()

    def add(
        self, new: Mapping[Key, int], seconds: Mapping[Counted, int]
    ) -> Mapping[Key, tuple[int, int]]:
        del seconds
        self.asked.set()
        if self.away:
            raise redis.ConnectionError("away")
        for key, calls in new.items():
            self.counts[key] = self.counts.get(key, 0) + calls
        return {
            (counted, who, window): (
                self.counts[counted, who, window],
                self.counts.get((counted, who, window - 1), 0),
            )
            for counted, who, window in new
        }


def _limits(clock: Hands, text: str = "10/minute", shelf: Shelf | None = None) -> RateLimits:
    limits = RateLimits({Counted.USER: parse(text)}, clock, shelf)
    limits._closed.set()  # no thread: the test shares by hand
    return limits


def _pass(limits: RateLimits, calls: int, who: str = "ada") -> int:
    """Call so often; return how many calls pass."""
    standings = [limits.count(Counted.USER, who) for _ in range(calls)]
    return sum(standing is not None and standing.retry_seconds is None for standing in standings)


def test_so_many_calls_pass_and_no_more() -> None:
    limits = _limits(Hands())

    assert _pass(limits, 15) == 10
    assert _pass(limits, 15, "bob") == 10


def test_nothing_is_counted_that_has_no_limit() -> None:
    limits = _limits(Hands())

    assert limits.count(Counted.ADDRESS, "192.0.2.1") is None
    assert limits.look(Counted.WORKFLOW, "w") is None


def test_a_window_slides_so_that_its_edge_gives_nothing_away() -> None:
    clock = Hands()
    limits = _limits(clock)
    clock.go(59)
    _pass(limits, 10)

    clock.go(2)
    at_the_edge = _pass(limits, 10)
    clock.go(29)
    half_way = _pass(limits, 10)

    assert (at_the_edge, half_way) == (1, 4)


def test_after_two_windows_the_past_is_forgotten() -> None:
    clock = Hands()
    limits = _limits(clock)
    _pass(limits, 10)

    clock.go(120)

    assert _pass(limits, 20) == 10


@pytest.mark.parametrize("into", [0, 1, 29.5, 59.9])
@pytest.mark.parametrize("text", ["1/minute", "10/minute", "7 per 2 seconds", "1000/hour"])
def test_whoever_waits_as_long_as_they_are_told_may_call_again(text: str, into: float) -> None:
    clock = Hands()
    limits = _limits(clock, text)
    clock.go(into)
    _pass(limits, 2000)

    for _ in range(3):
        standing = limits.look(Counted.USER, "ada")
        assert standing is not None
        assert standing.retry_seconds is not None
        clock.go(standing.retry_seconds)
        assert _pass(limits, 2000) >= 1


def test_a_standing_tells_what_is_left_and_until_when() -> None:
    clock = Hands()
    limits = _limits(clock)
    clock.go(15)

    first = limits.count(Counted.USER, "ada")
    seen = limits.look(Counted.USER, "ada")

    assert first == seen
    assert first is not None
    assert (first.quota, first.seconds, first.remaining, first.reset_seconds) == (10, 60, 9, 45)


def test_several_processes_share_one_limit_but_for_what_they_do_not_know_yet() -> None:
    clock, shelf = Hands(), Shelf()
    here, there = (_limits(clock, shelf=shelf) for _ in range(2))
    passed = 0

    for _ in range(10):
        passed += _pass(here, 1) + _pass(there, 1)
        here.share_now()
        there.share_now()

    assert passed in (10, 11)


def test_they_share_the_window_before_too() -> None:
    clock, shelf = Hands(), Shelf()
    here, there = (_limits(clock, shelf=shelf) for _ in range(2))
    clock.go(59)
    _pass(here, 10)
    here.share_now()

    clock.go(2)
    unknowing = _pass(there, 1)
    there.share_now()

    assert (unknowing, _pass(there, 10)) == (1, 0)


def test_while_redis_is_away_each_counts_for_itself_and_tells_later() -> None:
    clock, shelf = Hands(), Shelf()
    shelf.away = True
    here, there = (_limits(clock, shelf=shelf) for _ in range(2))

    alone = [_pass(limits, 8) for limits in (here, there)]
    for limits in (here, there):
        with pytest.raises(redis.ConnectionError):
            limits.share_now()
    shelf.away = False
    for limits in (here, there, here):
        limits.share_now()

    assert alone == [8, 8]
    assert sum(shelf.counts.values()) == 16
    assert _pass(there, 5) == 0


def test_it_shares_by_itself_and_stops_when_told() -> None:
    shelf = Shelf()
    limits = RateLimits({Counted.USER: parse("10/minute")}, Hands(), shelf)

    _pass(limits, 3)
    assert shelf.asked.wait(10)
    limits.close()

    assert sum(shelf.counts.values()) == 3
    assert limits._thread is not None
    assert not limits._thread.is_alive()


def test_it_remembers_so_many_callers_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rate_limits, "MAX_TALLIES", 3)
    limits = _limits(Hands())

    for who in "abcde":
        _pass(limits, 10, who)

    assert len(limits._tallies) == 3
    assert (_pass(limits, 1, "e"), _pass(limits, 1, "a")) == (0, 1)


@pytest.mark.parametrize("text", ["fast", "0/minute", "-1/minute", "10", "10/fortnight", "/minute"])
def test_a_limit_that_is_none_is_refused_at_the_start(text: str) -> None:
    settings = Settings(_env_file=None, rate_limit_per_address=text)

    with pytest.raises(ConfigurationError, match="RATE_LIMIT_PER_ADDRESS"):
        shared_rates.rate_limits(settings, Hands())


def test_limits_are_switched_off_by_a_word() -> None:
    settings = Settings(_env_file=None, rate_limit_per_user="off", rate_limit_per_key="OFF")

    assert not shared_rates.rate_limits(settings, Hands()).any
    assert shared_rates.rate_limits(Settings(_env_file=None), Hands()).any


@pytest.mark.parametrize(
    ("address", "name"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("unknown", "unknown"),
    ],
)
def test_one_site_counts_as_one_address(address: str, name: str) -> None:
    assert counted_as(address) == name


def test_an_ipv4_address_that_came_over_ipv6_is_in_its_network() -> None:
    network = network_of("::ffff:10.1.0.0/112")

    assert network == network_of("10.1.0.0/16")
    assert address_of("::ffff:10.1.2.3") in network
