"""What becomes of a fire time that has come: a decision on values."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from app.core.statuses import Misfire
from app.engine.scheduling.cron import next_fire

GRACE: Final = timedelta(seconds=60)
"""A fire time that is older than this was missed: nothing was there to fire it."""


@dataclass(frozen=True, slots=True)
class Timetable:
    """When a schedule fires."""

    cron: str
    timezone: str
    misfire: Misfire


@dataclass(frozen=True, slots=True)
class Turn:
    """What to do now: fire for `fire_at`, or not at all, and wait for `next_fire_at`."""

    fire_at: datetime | None
    next_fire_at: datetime


def take_turn(timetable: Timetable, due_at: datetime, now: datetime) -> Turn:
    """Return what becomes of a fire time that has come.

    One that is late by no more than the grace fires, and so does each one after it in its turn. Of those that were missed,
    `skip` fires none and `once` the first one, for all of them.

    Raises:
        InvalidCron, InvalidTimeZone: it fires no more.
    """
    missed = now - due_at > GRACE
    fire_at = None if missed and timetable.misfire is Misfire.SKIP else due_at
    after = now if missed else due_at
    return Turn(fire_at, next_fire(timetable.cron, timetable.timezone, after))
