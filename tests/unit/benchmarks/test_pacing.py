"""When the load generator sends."""

import asyncio

from benchmarks.pacing import Gate, Timetable


async def test_so_many_requests_are_due_as_were_asked_for() -> None:
    timetable = Timetable(3_600, None, 3)

    due = [await timetable.next() for _ in range(5)]

    assert [moment is None for moment in due] == [False, False, False, True, True]


async def test_no_request_is_due_when_the_time_is_over() -> None:
    assert await Timetable(0, None, None).next() is None


async def test_late_requests_keep_the_moment_at_which_they_were_due() -> None:
    timetable = Timetable(3_600, 1_000_000.0, None)
    timetable.started -= 60

    due = [await timetable.next() for _ in range(3)]

    assert due == [timetable.started + number / 1_000_000 for number in range(3)]


async def test_a_timetable_with_a_rate_ends_with_its_time() -> None:
    timetable = Timetable(0.5, 4.0, None)
    timetable.started -= 60

    due = [await timetable.next() for _ in range(3)]

    assert due == [timetable.started, timetable.started + 0.25, None]


async def test_without_a_database_nothing_is_held_back() -> None:
    gate = Gate("", 0)

    async with gate.kept():
        passed = asyncio.create_task(gate.passed())
        for _ in range(3):
            await asyncio.sleep(0)

        assert passed.done()
