"""What becomes of a fire time that has come."""

from datetime import UTC, datetime, timedelta

import pytest

from app.core.statuses import Misfire
from app.engine.scheduling.firing import Timetable, Turn, take_turn

NOON = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


@pytest.mark.parametrize("misfire", list(Misfire))
@pytest.mark.parametrize("late", [timedelta(0), timedelta(seconds=60)])
def test_in_time_it_fires_and_waits_for_the_next(misfire: Misfire, late: timedelta) -> None:
    turn = take_turn(Timetable("* * * * *", "UTC", misfire), NOON, NOON + late)

    assert turn == Turn(NOON, NOON + MINUTE)


def test_what_was_missed_is_skipped_up_to_now() -> None:
    turn = take_turn(Timetable("* * * * *", "UTC", Misfire.SKIP), NOON, NOON + 90 * MINUTE)

    assert turn == Turn(None, NOON + 91 * MINUTE)


def test_or_fired_once_for_all() -> None:
    turn = take_turn(Timetable("* * * * *", "UTC", Misfire.ONCE), NOON, NOON + 90 * MINUTE)

    assert turn == Turn(NOON, NOON + 91 * MINUTE)
