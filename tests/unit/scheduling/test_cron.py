"""Cron expressions, also where clocks change."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.engine.scheduling.cron import (
    InvalidCron,
    InvalidTimeZone,
    load_zone,
    next_fire,
    next_fires,
    read_cron,
)

BERLIN, NEW_YORK, LORD_HOWE = "Europe/Berlin", "America/New_York", "Australia/Lord_Howe"


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def fires(cron: str, timezone: str, after: str, count: int) -> list[str]:
    """Return when it fires, as the clock on the wall shows it, with its offset."""
    found = next_fires(cron, timezone, utc(after), count)
    return [moment.astimezone(ZoneInfo(timezone)).strftime("%d %H:%M%z") for moment in found]


@pytest.mark.parametrize(
    ("cron", "after", "expected"),
    [
        ("*/5 * * * *", "2026-11-20 12:00", "2026-11-20 12:05"),
        ("0 9 * * mon-fri", "2026-11-20 12:00", "2026-11-23 09:00"),
        ("0 0 1 * fri", "2026-11-20 12:00", "2026-11-27 00:00"),
        ("0 0 L * *", "2026-11-20 12:00", "2026-11-30 00:00"),
        ("0 0 * * FRI#3", "2026-11-20 12:00", "2026-12-18 00:00"),
        ("  30   22-2  * *   7 ", "2026-11-20 12:00", "2026-11-22 00:30"),
        ("@hourly", "2026-11-20 12:00", "2026-11-20 13:00"),
        ("@weekly", "2026-11-20 12:00", "2026-11-22 00:00"),
        ("@yearly", "2026-11-20 12:00", "2027-01-01 00:00"),
        ("0 0 29 2 *", "2026-11-20 12:00", "2028-02-29 00:00"),
        ("0 0 29 2 *", "2096-03-01 00:00", "2104-02-29 00:00"),
    ],
)
def test_it_fires_next_at_the_first_time_that_matches(cron: str, after: str, expected: str) -> None:
    assert next_fire(cron, "UTC", utc(after)) == utc(expected)


def test_it_fires_after_the_moment_never_at_it() -> None:
    assert next_fire("0 12 * * *", "UTC", utc("2026-11-20 12:00")) == utc("2026-11-21 12:00")
    assert next_fire("0 12 * * *", "UTC", utc("2026-11-20 11:59:59.999999")) == utc(
        "2026-11-20 12:00"
    )
    assert next_fire("0 12 * * *", "UTC", utc("2026-11-20 12:00:00.000001")) == utc(
        "2026-11-21 12:00"
    )


def test_the_time_zone_says_what_the_hour_is() -> None:
    assert fires("0 9 * * *", BERLIN, "2026-03-27 12:00", 3) == [
        "28 09:00+0100",
        "29 09:00+0200",
        "30 09:00+0200",
    ]


@pytest.mark.parametrize(
    ("cron", "timezone", "after", "expected"),
    [
        # Berlin, 29 March 2026: 02:00 to 03:00 is skipped.
        ("30 2 * * *", BERLIN, "2026-03-28 12:00", ["29 03:00+0200", "30 02:30+0200"]),
        ("*/20 2 * * *", BERLIN, "2026-03-28 12:00", ["29 03:00+0200", "30 02:00+0200"]),
        ("0 1-4 * * *", BERLIN, "2026-03-28 23:00", ["29 01:00+0100", "29 03:00+0200", "29 04:00+0200"]),
        # New York, 8 March 2026: likewise.
        ("15 2 * * *", NEW_YORK, "2026-03-07 12:00", ["08 03:00-0400", "09 02:15-0400"]),
        # Lord Howe, 4 October 2026: only 02:00 to 02:30 is skipped.
        ("15 2 * * *", LORD_HOWE, "2026-10-03 00:00", ["04 02:30+1100", "05 02:15+1100"]),
        ("45 2 * * *", LORD_HOWE, "2026-10-03 00:00", ["04 02:45+1100", "05 02:45+1100"]),
        # Beirut skips the hour at midnight.
        ("@daily", "Asia/Beirut", "2026-03-28 12:00", ["29 01:00+0300", "30 00:00+0300"]),
    ],
)  # fmt: skip
def test_a_fixed_hour_that_is_skipped_fires_once_right_after_the_gap(
    cron: str, timezone: str, after: str, expected: list[str]
) -> None:
    assert fires(cron, timezone, after, len(expected)) == expected


@pytest.mark.parametrize(
    ("cron", "timezone", "after", "expected"),
    [
        # Berlin, 25 October 2026: 02:00 to 03:00 comes twice.
        ("30 2 * * *", BERLIN, "2026-10-24 12:00", ["25 02:30+0200", "26 02:30+0100"]),
        ("*/30 2 * * *", BERLIN, "2026-10-24 12:00", ["25 02:00+0200", "25 02:30+0200", "26 02:00+0100"]),
        # New York, 1 November 2026: 01:00 to 02:00.
        ("0 1 * * *", NEW_YORK, "2026-10-31 12:00", ["01 01:00-0400", "02 01:00-0500"]),
        # Lord Howe, 5 April 2026: 01:30 to 02:00.
        ("45 1 * * *", LORD_HOWE, "2026-04-04 00:00", ["05 01:45+1100", "06 01:45+1030"]),
    ],
)  # fmt: skip
def test_a_fixed_hour_that_comes_twice_fires_the_first_time_alone(
    cron: str, timezone: str, after: str, expected: list[str]
) -> None:
    assert fires(cron, timezone, after, len(expected)) == expected


@pytest.mark.parametrize(
    ("cron", "timezone", "after", "expected"),
    [
        ("*/30 * * * *", BERLIN, "2026-10-24 23:45",
         ["25 02:00+0200", "25 02:30+0200", "25 02:00+0100", "25 02:30+0100", "25 03:00+0100"]),
        ("@hourly", NEW_YORK, "2026-11-01 04:30", ["01 01:00-0400", "01 01:00-0500", "01 02:00-0500"]),
        ("*/15 * * * *", LORD_HOWE, "2026-04-04 14:20",
         ["05 01:30+1100", "05 01:45+1100", "05 01:30+1030", "05 01:45+1030", "05 02:00+1030"]),
        ("*/30 * * * *", BERLIN, "2026-03-29 00:00", ["29 01:30+0100", "29 03:00+0200", "29 03:30+0200"]),
        ("30 */2 * * *", BERLIN, "2026-03-29 00:00", ["29 04:30+0200", "29 06:30+0200"]),
    ],
)  # fmt: skip
def test_a_wildcard_hour_goes_on_with_the_clock(
    cron: str, timezone: str, after: str, expected: list[str]
) -> None:
    assert fires(cron, timezone, after, len(expected)) == expected


@pytest.mark.parametrize(
    "cron",
    [
        "", "hourly", "@reboot", "@every 5m", "* * * *", "0 * * * * *", "60 * * * *", "* 24 * * *", "* * 0 * *", "* * * 13 *",
        "* * * * 8", "*/0 * * * *", "*/90 * * * *", "r r * * *", "h * * * *", "r(0-5) * * * *", "* * * foo *", "a b c d e",
        "* * * * mon;", "1,,2 * * * *", "*-5 * * * *",
    ],
)  # fmt: skip
def test_what_is_no_cron_expression_is_refused_with_advice(cron: str) -> None:
    with pytest.raises(InvalidCron, match=r"write five fields|it takes"):
        read_cron(cron)


@pytest.mark.parametrize("cron", ["0 0 31 2 *", "0 0 30 feb *", "0 0 31 4,6,9,11 *"])
def test_what_never_fires_is_refused(cron: str) -> None:
    with pytest.raises(InvalidCron, match="never fires"):
        next_fire(cron, "UTC", utc("2026-11-20 12:00"))


def test_the_faulty_field_is_named() -> None:
    with pytest.raises(InvalidCron, match="hour field `25`"):
        read_cron("0 25 * * *")


@pytest.mark.parametrize("name", ["", "Europe", "../etc/passwd", "/etc/localtime", "localtime", "x\0y", "Mars/Olympus"])  # fmt: skip
def test_what_is_no_time_zone_is_refused(name: str) -> None:
    with pytest.raises(InvalidTimeZone, match="no time zone"):
        load_zone(name)


def test_a_near_time_zone_is_named() -> None:
    with pytest.raises(InvalidTimeZone, match="did you mean `Europe/Berlin`"):
        load_zone("Europe/Berln")


_PIECE = st.text("0123456789*/,-#?lwrh jansunmo()@", max_size=12)


@given(st.lists(_PIECE, min_size=4, max_size=6).map(" ".join))
def test_whatever_is_written_is_read_or_refused(cron: str) -> None:
    try:
        found = next_fire(cron, "UTC", utc("2026-11-20 12:00"))
    except InvalidCron:
        return

    assert found > utc("2026-11-20 12:00")
    assert next_fire(cron, "UTC", utc("2026-11-20 12:00")) == found


@given(
    st.sampled_from(["*/7 * * * *", "30 2 * * *", "15,45 1-3 * * *", "0 */3 * * *", "@daily"]),
    st.sampled_from([BERLIN, NEW_YORK, LORD_HOWE, "Asia/Beirut", "America/Santiago", "UTC"]),
    st.integers(0, 366 * 24 * 60),
    st.integers(1, 600),
)
def test_a_later_moment_never_has_an_earlier_next_time(
    cron: str, timezone: str, minute: int, later: int
) -> None:
    moment = utc("2026-01-01 00:00:30") + timedelta(minutes=minute)

    first = next_fire(cron, timezone, moment)
    second = next_fire(cron, timezone, moment + timedelta(minutes=later))

    assert moment < first <= second
    assert next_fire(cron, timezone, first - timedelta(seconds=1)) == first
