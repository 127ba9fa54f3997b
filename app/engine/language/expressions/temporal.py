"""Dates and durations: RFC 3339 text and seconds outside, `datetime` and `timedelta` inside an expression."""

import re
from datetime import UTC, date, datetime, timedelta, timezone
from typing import Any

from app.engine.language.expressions.faults import InvalidValue, LimitExceeded

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
LONGEST_TEXT = 64
_RFC3339 = re.compile(
    r"([0-9]{4}-[0-9]{2}-[0-9]{2})"
    r"(?:[Tt ]([0-9]{2}):([0-9]{2})(?::([0-9]{2})(?:\.([0-9]{1,9}))?)?(?:([Zz])|([+-])([0-9]{2}):([0-9]{2}))?)?"
)
_DURATION = re.compile(r"(-?)((?:[0-9]+(?:\.[0-9]+)?(?:ms|w|d|h|m|s))+)")
_PART = re.compile(r"([0-9.]+)(ms|w|d|h|m|s)")
_UNITS = {
    "w": timedelta(weeks=1),
    "d": timedelta(days=1),
    "h": timedelta(hours=1),
    "m": timedelta(minutes=1),
    "s": timedelta(seconds=1),
    "ms": timedelta(milliseconds=1),
}
_PATTERN = re.compile(r"YYYY|MM|DD|HH|mm|ss")


def parse_date(text: str) -> datetime:
    """Return the moment that an RFC 3339 text names; without a time it is midnight, without an offset UTC.

    Raises:
        InvalidValue: when the text is no date.
    """
    match = _RFC3339.fullmatch(text) if len(text) <= LONGEST_TEXT else None
    if match is None:
        raise InvalidValue(
            "date() cannot read this text: write it like 2026-01-31 or 2026-01-31T09:30:00Z."
        )
    day, hour, minute, second, fraction, _, sign, offset_hours, offset_minutes = match.groups()
    try:
        zone = UTC
        if sign:
            offset = timedelta(hours=int(offset_hours), minutes=int(offset_minutes))
            zone = timezone(-offset if sign == "-" else offset)
        moment = datetime.combine(date.fromisoformat(day), datetime.min.time(), zone)
        return moment.replace(
            hour=int(hour or 0),
            minute=int(minute or 0),
            second=int(second or 0),
            microsecond=int((fraction or "0").ljust(6, "0")[:6]),
        )
    except ValueError:
        raise InvalidValue(
            "date() got a day or time that does not exist, such as month 13."
        ) from None


def date_of_seconds(seconds: float) -> datetime:
    """Return the moment so many seconds after 1970, as Unix time counts them."""
    return shifted(EPOCH, duration_of_seconds(seconds))


def parse_duration(text: str) -> timedelta:
    """Return the duration that a text like `1h30m` names.

    Raises:
        InvalidValue: when the text is no duration.
    """
    match = _DURATION.fullmatch(text) if len(text) <= LONGEST_TEXT else None
    if match is None:
        raise InvalidValue(
            "duration() cannot read this text: write it like 1h30m, with the units w d h m s ms."
        )
    try:
        parts = (float(count) * _UNITS[unit] for count, unit in _PART.findall(match[2]))
        total = sum(parts, timedelta())
    except OverflowError:
        raise _out_of_range() from None
    return -total if match[1] else total


def duration_of_seconds(seconds: float) -> timedelta:
    """Return the duration of so many seconds."""
    try:
        return timedelta(seconds=seconds)
    except OverflowError:
        raise _out_of_range() from None


def shifted(moment: datetime, by: timedelta) -> datetime:
    """Return a moment so much later."""
    try:
        return moment + by
    except OverflowError:
        raise _out_of_range() from None


def added(one: timedelta, other: timedelta) -> timedelta:
    """Return the sum of two durations."""
    try:
        return one + other
    except OverflowError:
        raise _out_of_range() from None


def date_text(moment: datetime) -> str:
    """Return the RFC 3339 text of a moment, with `Z` for UTC."""
    return moment.isoformat().replace("+00:00", "Z")


def seconds_of(duration: timedelta) -> int | float:
    """Return a duration in seconds: an integer when it is whole."""
    seconds = duration.total_seconds()
    return int(seconds) if seconds.is_integer() else seconds


def format_date(moment: datetime, pattern: str) -> str:
    """Return the pattern with `YYYY MM DD HH mm ss` replaced by the parts of the moment."""
    parts: dict[str, Any] = {
        "YYYY": f"{moment.year:04}",
        "MM": f"{moment.month:02}",
        "DD": f"{moment.day:02}",
        "HH": f"{moment.hour:02}",
        "mm": f"{moment.minute:02}",
        "ss": f"{moment.second:02}",
    }
    return _PATTERN.sub(lambda match: parts[match[0]], pattern)


def _out_of_range() -> LimitExceeded:
    return LimitExceeded("A date or duration leaves the years 1 to 9999.")
