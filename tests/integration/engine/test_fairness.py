"""One owner floods; another's runs start all the same."""

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from redis import Redis
from sqlalchemy import create_engine
from sqlmodel import Session

from app.core.clock import SystemClock
from app.core.config import Settings
from app.core.ids import new_id
from app.core.statuses import Role, RunStatus
from app.engine.delivery import taking
from app.engine.delivery.dispatch import FEW_RUNS, Dispatcher, connect_redis, count_hints
from app.engine.delivery.hints import open_queues
from app.engine.delivery.lanes import LANES, MIXED, lane_of
from app.engine.delivery.process import WorkerProcess
from app.models import User
from tests.integration.engine.gates import GATES
from tests.integration.engine.world import World

Begin = Callable[[], WorkerProcess]
LIMIT = 9
ALONE = 8
"""How many of LIMIT runs one owner may have in flight."""


@pytest.fixture
def settings(settings: Settings) -> Settings:
    nodes = Path(__file__).parent / "gated_nodes"
    return settings.model_copy(
        update={"plugins_dir": nodes, "runs_per_worker": LIMIT, "shutdown_seconds": 0}
    )


@pytest.fixture(autouse=True)
def _closed_gates() -> None:
    GATES.clear()


@pytest.fixture
def redis(world: World) -> Iterator[Redis]:
    with connect_redis(str(world.settings.redis_url)) as client:
        yield client


def another(world: World) -> World:
    """Return the world of another owner, in another lane."""
    owner_id = next(id_ for id_ in iter(new_id, "") if lane_of(id_) != lane_of(world.owner_id))
    with Session(world.engine) as session:
        session.add(
            User(
                id=owner_id,
                email=f"{owner_id}@example.com",
                password_hash="",
                role=Role.MEMBER,
                created_at=SystemClock().now(),
            )
        )
        session.commit()
    return replace(world, owner_id=owner_id)


def _slow(world: World) -> str:
    return world.workflow({"type": "gated", "config": {"gate": "a"}})


def _quick(world: World) -> str:
    return world.workflow({"type": "log", "config": {"message": "quick"}})


async def _trigger_many(world: World, workflow: str, count: int) -> list[str]:
    answers = await asyncio.gather(*(world.trigger(workflow) for _ in range(count)))
    return [answer.run_id for answer in answers]


def _queues(redis: Redis) -> dict[str, int]:
    """Return the queues in which hints wait."""
    lengths = {name: queue.count for name, queue in open_queues(redis).items()}
    return {name: length for name, length in lengths.items() if length}


async def test_a_flood_of_slow_runs_leaves_room_for_another_owner(
    world: World, begin: Begin
) -> None:
    begin()
    flood = await _trigger_many(world, _slow(world), 30)
    await world.until(lambda: GATES["a"].entered == ALONE)

    other = another(world)
    quick = await other.start(_quick(other))

    assert quick.status is RunStatus.SUCCEEDED
    assert GATES["a"].entered == ALONE
    GATES["a"].opened.set()
    for run_id in flood:
        assert (await world.ended(run_id)).status is RunStatus.SUCCEEDED


async def test_a_long_queue_of_one_owner_does_not_stand_before_another(
    world: World, begin: Begin, redis: Redis
) -> None:
    other = another(world)
    workflow, flood = _quick(world), list[str]()
    for _ in range(20):
        flood += await _trigger_many(world, workflow, 20)
    run_id = (await other.trigger(_quick(other))).run_id
    await world.until(lambda: len(_queues(redis)) == 2)

    begin()
    run = await other.ended(run_id)

    begun = {one.id: one.started_at for one in world.runs() if one.started_at is not None}
    assert sum(begun[id_] < begun[run.id] for id_ in flood if id_ in begun) < len(flood) / 4


async def test_what_a_stopping_process_has_no_room_for_returns_to_the_queue(
    world: World, begin: Begin, redis: Redis
) -> None:
    run_ids = await _trigger_many(world, _slow(world), 30)
    await world.until(lambda: count_hints(redis) > 0)
    redis.flushdb()
    Dispatcher(redis, world.engine).dispatch(run_ids)
    first = begin()
    await world.until(lambda: GATES["a"].entered == ALONE)
    taken = count_hints(redis)

    await first.end()

    assert taken == 0
    assert _queues(redis) == {lane_of(world.owner_id): 1}
    GATES["a"].opened.set()
    begin()
    for run_id in run_ids:
        assert (await world.ended(run_id)).status is RunStatus.SUCCEEDED


async def test_without_redis_a_duty_that_finds_a_flood_has_room_for_another_owner(
    world: World, begin: Begin, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(taking, "DIRECT_PATIENCE_SECONDS", 0.1)
    other = another(world)
    flood = await _trigger_many(world, _slow(world), 30)
    run_id = (await other.trigger(_quick(other))).run_id
    world.settings = world.settings.model_copy(update={"redis_url": "redis://127.0.0.1:1/0"})
    process = begin()

    await asyncio.to_thread(process._hand_on, [*flood, run_id])

    assert (await other.ended(run_id)).status is RunStatus.SUCCEEDED
    assert GATES["a"].entered == ALONE


async def test_many_runs_have_a_hint_of_their_own_and_few_share_one(
    world: World, redis: Redis
) -> None:
    other = another(world)
    many = [new_id() for _ in range(FEW_RUNS)]
    owners = {
        **dict.fromkeys(many, world.owner_id),
        (one := new_id()): other.owner_id,
        (two := new_id()): "",
    }

    Dispatcher(redis).dispatch([*many, one, two], owners)

    assert _queues(redis) == {lane_of(world.owner_id): 1, MIXED: 1}


async def test_runs_of_one_owner_go_to_their_lane_however_few(world: World, redis: Redis) -> None:
    Dispatcher(redis).dispatch([run_id := new_id()], {run_id: world.owner_id})

    assert _queues(redis) == {lane_of(world.owner_id): 1}


async def test_owners_that_are_not_told_are_looked_up(world: World, redis: Redis) -> None:
    run_id = (await world.trigger(_quick(world))).run_id

    runs = Dispatcher(redis, world.engine).sort([run_id, unknown := new_id()])

    assert runs == {lane_of(world.owner_id): [run_id], lane_of(""): [unknown]}


async def test_while_the_database_is_away_runs_travel_in_one_lane(redis: Redis) -> None:
    away = create_engine("postgresql+psycopg2://nobody@127.0.0.1:1/nothing")

    runs = Dispatcher(redis, away).sort([run_id := new_id()])

    assert runs == {lane_of(""): [run_id]}
    assert lane_of("") in LANES
