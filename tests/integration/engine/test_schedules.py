"""Schedules fire once each, whoever comes first; what is missed, disabled or gone moves on with its reason."""

import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import update
from sqlmodel import Session, col, select

from app.core.ids import new_id
from app.core.statuses import Misfire, RunStatus, TriggerKind
from app.db.base import make_engine
from app.engine.duties.schedules import Schedules
from app.engine.registry import load_catalogue
from app.models import Run, Schedule, User, Workflow
from tests.integration.engine.world import World

NOON = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
LOG = {"type": "log", "config": {"message": "tick"}}
EVERY_MINUTE: dict[str, Any] = {
    "cron": "* * * * *",
    "timezone": "UTC",
    "misfire": Misfire.SKIP,
    "next_fire_at": NOON,
}


@dataclass
class SetClock:
    """A clock that stands where the test has set it."""

    at: datetime = NOON

    def now(self) -> datetime:
        return self.at

    def monotonic(self) -> float:
        return self.at.timestamp()


@dataclass
class Desk:
    """A schedules duty with a clock that the test moves."""

    world: World
    clock: SetClock = field(default_factory=SetClock)
    handed_on: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.duty = Schedules(
            self.world.engine, self.clock, load_catalogue(None), self.handed_on.extend, 3600
        )

    def add(self, workflow_id: str, **fields: Any) -> str:
        with Session(self.world.engine) as session:
            schedule = Schedule(
                id=new_id(),
                owner_id=self.world.owner_id,
                workflow_id=workflow_id,
                created_at=NOON,
                updated_at=NOON,
                **EVERY_MINUTE | fields,
            )
            session.add(schedule)
            session.commit()
            return schedule.id

    def read(self, schedule_id: str) -> Schedule:
        with Session(self.world.engine) as session:
            return session.exec(select(Schedule).where(Schedule.id == schedule_id)).one()

    def set_workflow(self, workflow_id: str, **values: Any) -> None:
        with self.world.engine.begin() as connection:
            connection.execute(
                update(Workflow).where(col(Workflow.id) == workflow_id).values(**values)
            )

    def times(self) -> Sequence[str]:
        return sorted(run.input["scheduled_at"] for run in self.world.runs())


@pytest.fixture
def desk(world: World) -> Desk:
    return Desk(world)


async def test_a_due_schedule_starts_a_run_that_says_when(world: World, desk: Desk) -> None:
    schedule_id = desk.add(world.workflow(LOG))

    done = desk.duty.run_once()
    again = desk.duty.run_once()

    (run,) = world.runs()
    schedule = desk.read(schedule_id)
    assert (done, again) == ({"turns": 1, "runs": 1}, {"turns": 0, "runs": 0})
    assert run.input == {"scheduled_at": "2026-11-20T12:00:00.000Z", "schedule_id": schedule_id}
    assert (run.trigger_kind, run.status) == (TriggerKind.SCHEDULE, RunStatus.QUEUED)
    assert desk.handed_on == [run.id]
    assert (schedule.next_fire_at, schedule.last_fire_at) == (NOON + MINUTE, NOON)
    assert (schedule.last_run_id, schedule.last_error) == (run.id, None)
    assert run.key_expires_at == NOON + timedelta(seconds=3600)


async def test_what_is_not_due_or_disabled_stays(world: World, desk: Desk) -> None:
    workflow_id = world.workflow(LOG)
    desk.add(workflow_id, next_fire_at=NOON + timedelta(seconds=1))
    desk.add(workflow_id, enabled=False)

    assert desk.duty.run_once() == {"turns": 0, "runs": 0}


async def test_the_given_input_is_the_runs_input(world: World, desk: Desk) -> None:
    desk.add(world.workflow(LOG), input={"report": "daily"})

    desk.duty.run_once()

    assert [run.input for run in world.runs()] == [{"report": "daily"}]


@pytest.mark.usefixtures("worker")
async def test_a_worker_runs_it(world: World) -> None:
    desk = Desk(world)
    schedule_id = desk.add(world.workflow(LOG), misfire=Misfire.ONCE, cron="@yearly")

    await world.until(lambda: desk.read(schedule_id).last_run_id is not None)

    run = await world.ended(str(desk.read(schedule_id).last_run_id))
    assert (run.status, run.trigger_kind) == (RunStatus.SUCCEEDED, TriggerKind.SCHEDULE)


async def test_a_late_worker_still_fires_what_is_within_the_grace(world: World, desk: Desk) -> None:
    desk.add(world.workflow(LOG))
    desk.clock.at = NOON + MINUTE

    desk.duty.run_once()

    assert desk.times() == ["2026-11-20T12:00:00.000Z", "2026-11-20T12:01:00.000Z"]


async def test_missed_times_are_skipped_and_the_schedule_says_so(world: World, desk: Desk) -> None:
    schedule_id = desk.add(world.workflow(LOG))
    desk.clock.at = NOON + 60 * MINUTE + timedelta(seconds=5)

    desk.duty.run_once()

    schedule = desk.read(schedule_id)
    assert world.runs() == []
    assert schedule.next_fire_at == NOON + 61 * MINUTE
    assert "2026-11-20T12:00:00.000Z" in str(schedule.last_error)
    desk.clock.at = NOON + 61 * MINUTE
    desk.duty.run_once()
    assert desk.times() == ["2026-11-20T13:01:00.000Z"]
    assert desk.read(schedule_id).last_error is None


async def test_or_fired_once_for_all_of_them(world: World, desk: Desk) -> None:
    schedule_id = desk.add(world.workflow(LOG), misfire=Misfire.ONCE)
    desk.clock.at = NOON + 60 * MINUTE + timedelta(seconds=5)

    desk.duty.run_once()

    assert desk.times() == ["2026-11-20T12:00:00.000Z"]
    assert desk.read(schedule_id).next_fire_at == NOON + 61 * MINUTE


async def test_a_disabled_workflow_starts_nothing_and_time_moves_on(
    world: World, desk: Desk
) -> None:
    workflow_id = world.workflow(LOG)
    schedule_id = desk.add(workflow_id)
    desk.set_workflow(workflow_id, enabled=False)

    desk.duty.run_once()

    schedule = desk.read(schedule_id)
    assert world.runs() == []
    assert "disabled" in str(schedule.last_error)
    assert (schedule.next_fire_at, schedule.enabled) == (NOON + MINUTE, True)


async def test_the_schedules_of_a_deleted_workflow_end(world: World, desk: Desk) -> None:
    workflow_id = world.workflow(LOG)
    schedule_id = desk.add(workflow_id)
    desk.set_workflow(workflow_id, deleted_at=NOON)

    desk.duty.run_once()

    schedule = desk.read(schedule_id)
    assert world.runs() == []
    assert (schedule.enabled, schedule.next_fire_at) == (False, None)


async def test_an_input_that_fits_no_longer_is_told(world: World, desk: Desk) -> None:
    inputs = {"type": "object", "required": ["id"]}
    workflow_id = world.workflow(LOG, inputs=inputs)
    bad, good = desk.add(workflow_id, input={"name": "x"}), desk.add(workflow_id, input={"id": 1})

    desk.duty.run_once()

    assert [run.input for run in world.runs()] == [{"id": 1}]
    assert "'id' is a required property" in str(desk.read(bad).last_error)
    assert desk.read(good).last_error is None


async def test_its_runs_carry_the_workflows_context_and_its_owners_name(
    world: World, desk: Desk
) -> None:
    workflow_id = world.workflow(LOG)
    desk.add(workflow_id)
    rules = {"required": ["data_scope"], "defaults": {"data_scope": "EU"}}
    desk.set_workflow(workflow_id, context_required=rules)
    with Session(world.engine) as session:
        owner = session.get_one(User, world.owner_id)

    desk.duty.run_once()

    (run,) = world.runs()
    assert (run.context, run.started_by) == ({"data_scope": "EU"}, owner.email)


async def test_a_context_that_is_required_since_is_told(world: World, desk: Desk) -> None:
    strict, easy = world.workflow(LOG), world.workflow(LOG)
    refused, fired = desk.add(strict), desk.add(easy)
    desk.set_workflow(strict, context_required={"required": ["legal_basis"], "defaults": {}})

    desk.duty.run_once()

    schedule = desk.read(refused)
    assert [run.workflow_id for run in world.runs()] == [easy]
    assert "legal_basis" in str(schedule.last_error)
    assert "context.defaults" in str(schedule.last_error)
    assert (schedule.next_fire_at, schedule.enabled) == (NOON + MINUTE, True)
    assert desk.read(fired).last_error is None


async def test_what_can_no_longer_be_read_ends_and_holds_up_nobody(
    world: World, desk: Desk
) -> None:
    workflow_id = world.workflow(LOG)
    gone = desk.add(workflow_id, timezone="Mars/Olympus", next_fire_at=NOON - MINUTE)
    desk.add(workflow_id)

    desk.duty.run_once()

    assert len(world.runs()) == 1
    assert "Mars/Olympus" in str(desk.read(gone).last_error)
    assert desk.read(gone).enabled is False


async def test_three_workers_fire_each_schedule_once(world: World) -> None:
    workflow_id = world.workflow(LOG)
    first = Desk(world)
    ids = {first.add(workflow_id) for _ in range(150)}
    assert world.settings.database_url is not None
    engines = [make_engine(world.settings.database_url) for _ in range(3)]
    start = threading.Barrier(3)
    handed_on: list[str] = []

    def work(engine: Any) -> int:
        duty = Schedules(engine, SetClock(), load_catalogue(None), handed_on.extend, 3600)
        start.wait()
        return duty.run_once()["runs"]

    with ThreadPoolExecutor(3) as threads:
        counts = list(threads.map(work, engines))

    runs: Sequence[Run] = world.runs()
    assert sum(counts) == len(runs) == len(ids) == 150
    assert {run.input["schedule_id"] for run in runs} == ids
    assert sorted(handed_on) == sorted(run.id for run in runs)
    for engine in engines:
        engine.dispose()
