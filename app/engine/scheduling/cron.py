"""When a cron expression fires: functions of the expression, a time zone and a moment.

croniter says which wall-clock times match; what they mean where clocks change is decided here, in the way of Vixie cron.
An expression with a fixed hour (`30 2 * * *`, `0 9-17 * * *`) fires once for each wall-clock time: one that is skipped at
the first moment after the gap, one that comes twice the first time. One whose hour begins with `*` (`*/30 * * * *`) follows
the clock on the wall: what is skipped does not fire, what comes twice fires twice.
"""

import re
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from difflib import get_close_matches
from functools import cache
from typing import Final
from zoneinfo import ZoneInfo, available_timezones

from croniter import CroniterBadDateError, croniter

ALIASES: Final = frozenset(
    {"@yearly", "@annually", "@monthly", "@weekly", "@daily", "@midnight", "@hourly"}
)
NAMES: Final = frozenset(
    {"jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"}
    | {"sun", "mon", "tue", "wed", "thu", "fri", "sat", "l", "w"}
)
HOW_TO_WRITE: Final = (
    "write five fields (minute, hour, day of month, month, day of week), such as `0 9 * * mon-fri` for nine o'clock from "
    "Monday to Friday, or a name such as `@hourly`"
)
_WORDS: Final = re.compile(r"[a-z]+")
_STEPS: Final = re.compile(r"/(\d+)")
_CHARACTERS: Final = re.compile(r"[0-9a-z*/,#?-]+")


@dataclass(frozen=True, slots=True)
class _Field:
    name: str
    values: str
    count: int


_FIELDS: Final = (
    _Field("minute", "0 to 59", 60),
    _Field("hour", "0 to 23", 24),
    _Field("day of month", "1 to 31, or `L` for the last one", 31),
    _Field("month", "1 to 12, or `jan` to `dec`", 12),
    _Field("day of week", "0 to 7 (0 and 7 are Sunday), or `sun` to `sat`", 7),
)


class InvalidCron(ValueError):
    """The expression cannot be used; the message says why and how to mend it."""


class InvalidTimeZone(ValueError):
    """There is no such time zone; the message names near ones."""


def read_cron(text: str) -> str:
    """Return an expression as it is kept: single spaces, lower case.

    Raises:
        InvalidCron: it does not parse.
    """
    cron = " ".join(text.split()).lower()
    if cron in ALIASES:
        return cron
    fields = cron.split(" ")
    if len(fields) != len(_FIELDS):
        raise InvalidCron(f"`{cron}` is no cron expression: {HOW_TO_WRITE}.")
    for place, (field, written) in enumerate(zip(_FIELDS, fields, strict=True)):
        if not _holds(place, field, written):
            raise InvalidCron(
                f"The {field.name} field `{written}` does not hold: it takes {field.values}, `*`, lists (`1,15`), ranges "
                f"(`1-5`) and steps (`*/2`, {field.count - 1} at most)."
            )
    return cron


def load_zone(name: str) -> ZoneInfo:
    """Return a time zone of the IANA database.

    Raises:
        InvalidTimeZone: there is none of that name.
    """
    if name not in _zone_names():
        near = get_close_matches(name, _zone_names(), 1, cutoff=0.7)
        hint = f"did you mean `{near[0]}`?" if near else "write one such as `Europe/Berlin`."
        raise InvalidTimeZone(f"There is no time zone {name!r}: {hint}")
    return ZoneInfo(name)


def next_fire(cron: str, timezone: str, after: datetime) -> datetime:
    """Return the first moment after `after` at which the expression fires, in UTC.

    Raises:
        InvalidCron: it does not parse, or no date matches it.
        InvalidTimeZone: there is no such zone.
    """
    kept, zone = read_cron(cron), load_zone(timezone)
    try:
        if _follows_the_wall(kept):
            return _next_on_the_wall(kept, zone, after)
        return _next_of_fixed_hours(kept, zone, after)
    except CroniterBadDateError:
        raise InvalidCron(
            f"`{kept}` never fires, because no date matches it: correct its day of month, or its month."
        ) from None


def next_fires(cron: str, timezone: str, after: datetime, count: int) -> list[datetime]:
    """Return the first `count` moments after `after`.

    Raises:
        InvalidCron, InvalidTimeZone: as for `next_fire`.
    """
    found: list[datetime] = []
    for _ in range(count):
        after = next_fire(cron, timezone, after)
        found.append(after)
    return found


@cache
def _zone_names() -> frozenset[str]:
    return frozenset(available_timezones() - {"localtime", "Factory"})


def _holds(place: int, field: _Field, written: str) -> bool:
    known = _CHARACTERS.fullmatch(written) and NAMES.issuperset(_WORDS.findall(written))
    if not known or any(int(step) >= field.count for step in _STEPS.findall(written)):
        return False
    alone = ["*"] * len(_FIELDS)
    alone[place] = written
    return bool(croniter.is_valid(" ".join(alone)))


def _follows_the_wall(cron: str) -> bool:
    return cron == "@hourly" or (cron not in ALIASES and cron.split(" ")[1].startswith("*"))


def _matches(cron: str, after: datetime) -> Iterator[datetime]:
    """Yield the wall-clock times after a wall-clock time that match, without end."""
    times = croniter(cron, after.replace(tzinfo=UTC))
    while True:
        yield times.get_next(datetime).replace(tzinfo=None)


def _next_of_fixed_hours(cron: str, zone: ZoneInfo, after: datetime) -> datetime:
    for wall in _matches(cron, _wall(after, zone)):
        moments = _moments(wall, zone)
        fires_at = moments[0] if moments else _end_of_gap(wall, zone)
        if fires_at > after:
            return fires_at
    raise AssertionError("matches have no end")


def _next_on_the_wall(cron: str, zone: ZoneInfo, after: datetime) -> datetime:
    second_time: datetime | None = None
    for wall in _matches(cron, _wall(after, zone) - _to_come_again(after, zone)):
        moments = _moments(wall, zone)
        if moments and moments[0] > after:
            return moments[0] if second_time is None else min(moments[0], second_time)
        if second_time is None and moments and moments[-1] > after:
            second_time = moments[-1]
    raise AssertionError("matches have no end")


def _wall(moment: datetime, zone: ZoneInfo) -> datetime:
    return moment.astimezone(zone).replace(tzinfo=None, microsecond=0, fold=0)


def _to_come_again(moment: datetime, zone: ZoneInfo) -> timedelta:
    """Return how far the clock goes back, if this moment's time on the wall comes twice; else zero."""
    first, second = (_moment(_wall(moment, zone), zone, fold) for fold in (0, 1))
    return second - first


def _moments(wall: datetime, zone: ZoneInfo) -> Sequence[datetime]:
    """Return when the clock shows a time: once, twice, or never."""
    moments = sorted({_moment(wall, zone, fold) for fold in (0, 1)})
    return [moment for moment in moments if _wall(moment, zone) == wall]


def _moment(wall: datetime, zone: ZoneInfo, fold: int) -> datetime:
    return wall.replace(tzinfo=zone, fold=fold).astimezone(UTC)


def _end_of_gap(wall: datetime, zone: ZoneInfo) -> datetime:
    """Return the first moment after the gap that a time lies in: where, between its two readings, the offset changes."""
    before, after = sorted(_moment(wall, zone, fold) for fold in (0, 1))
    old = before.astimezone(zone).utcoffset()
    seconds = bisect_left(
        range(int((after - before).total_seconds())),
        True,
        key=lambda passed: (before + timedelta(seconds=passed)).astimezone(zone).utcoffset() != old,
    )
    return before + timedelta(seconds=seconds)
