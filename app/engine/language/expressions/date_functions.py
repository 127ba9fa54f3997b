"""Functions on dates and durations. Where a date is needed, RFC 3339 text such as `now` will do."""

from datetime import datetime, timedelta
from typing import Any

from app.engine.language.expressions import arguments, temporal
from app.engine.language.expressions.budget import Frame
from app.engine.language.expressions.faults import InvalidValue
from app.engine.language.expressions.values import checked, kind

LONGEST_PATTERN = 200


def date(_frame: Frame, value: Any) -> datetime:
    """Return the date that RFC 3339 text or a number of seconds since 1970 stands for."""
    if kind(value) == "number":
        return temporal.date_of_seconds(checked(value))
    return arguments.moment(value, "date")


def duration(_frame: Frame, value: Any) -> timedelta:
    """Return the duration that text like `1h30m` or a number of seconds stands for."""
    if isinstance(value, timedelta):
        return value
    if kind(value) == "number":
        return temporal.duration_of_seconds(checked(value))
    return temporal.parse_duration(arguments.text(value, "duration"))


def year(_frame: Frame, value: Any) -> int:
    """Return the year."""
    return arguments.moment(value, "year").year


def month(_frame: Frame, value: Any) -> int:
    """Return the month, 1 to 12."""
    return arguments.moment(value, "month").month


def day(_frame: Frame, value: Any) -> int:
    """Return the day of the month, 1 to 31."""
    return arguments.moment(value, "day").day


def hour(_frame: Frame, value: Any) -> int:
    """Return the hour, 0 to 23."""
    return arguments.moment(value, "hour").hour


def minute(_frame: Frame, value: Any) -> int:
    """Return the minute, 0 to 59."""
    return arguments.moment(value, "minute").minute


def second(_frame: Frame, value: Any) -> int:
    """Return the second, 0 to 59."""
    return arguments.moment(value, "second").second


def weekday(_frame: Frame, value: Any) -> int:
    """Return the day of the week, 1 (Monday) to 7 (Sunday)."""
    return arguments.moment(value, "weekday").isoweekday()


def timestamp(_frame: Frame, value: Any) -> int | float:
    """Return the seconds since 1970."""
    moment = arguments.moment(value, "timestamp")
    return temporal.seconds_of(moment - temporal.EPOCH)


def format_date(_frame: Frame, value: Any, pattern: Any) -> str:
    """Return the date in a pattern of `YYYY MM DD HH mm ss`."""
    moment = arguments.moment(value, "format_date")
    text = arguments.text(pattern, "format_date")
    if len(text) > LONGEST_PATTERN:
        raise InvalidValue(f"format_date() takes patterns of up to {LONGEST_PATTERN} characters.")
    return temporal.format_date(moment, text)
