"""One key, one run: over processes, over time, and by the input itself."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import update
from sqlmodel import col

from app.core.clock import SystemClock
from app.core.statuses import RunStatus
from app.db.base import make_engine
from app.engine import dedupe
from app.engine.delivery.dispatch import BackgroundDispatch, Dispatcher, connect_redis
from app.engine.duties.idempotency import Idempotency
from app.engine.registry import load_catalogue
from app.models import Run, Workflow
from tests.integration.engine.world import World, desk_of

LOG = {"type": "log", "config": {"message": "x"}}


def _set_workflow(world: World, workflow_id: str, **values: Any) -> None:
    with world.engine.begin() as connection:
        connection.execute(update(Workflow).where(col(Workflow.id) == workflow_id).values(**values))


def _set_run(world: World, run_id: str, **values: Any) -> None:
    with world.engine.begin() as connection:
        connection.execute(update(Run).where(col(Run.id) == run_id).values(**values))


def _by_input(world: World, **values: Any) -> str:
    workflow_id = world.workflow(LOG)
    _set_workflow(world, workflow_id, dedupe_by_input=True, **values)
    return workflow_id


async def test_duplicates_over_two_processes_are_one_run_for_each_key(world: World) -> None:
    workflow_id = world.workflow(LOG)
    engine = make_engine(str(world.settings.database_url))
    dispatch = BackgroundDispatch(Dispatcher(connect_redis(str(world.settings.redis_url))))
    other = World(
        engine,
        desk_of(engine, load_catalogue(None), dispatch),
        world.owner_id,
        world.settings,
    )
    keys = [f"k{number}" for number in range(20)]

    answers = await asyncio.gather(
        *(side.trigger(workflow_id, key=key) for key in keys for side in [world, other] * 5),
        *(side.trigger(workflow_id, key=key) for key in keys[::-1] for side in [other, world] * 5),
    )

    assert len(world.runs()) == 20
    assert sum(not answer.duplicate for answer in answers) == 20
    assert {answer.run_id for answer in answers} == {run.id for run in world.runs()}
    await other.desk.close()
    await dispatch.close()
    engine.dispose()


async def test_a_key_is_free_again_when_its_time_is_up(world: World) -> None:
    workflow_id = world.workflow(LOG)
    _set_workflow(world, workflow_id, dedupe_ttl_seconds=60)
    first = await world.trigger(workflow_id, key="k")
    again = await world.trigger(workflow_id, key="k")
    run = world.run(first.run_id)
    assert run.key_expires_at is not None
    _set_run(world, first.run_id, key_expires_at=run.key_expires_at - timedelta(seconds=61))

    later = await asyncio.gather(*(world.trigger(workflow_id, key="k") for _ in range(5)))

    assert again.run_id == first.run_id
    assert timedelta(seconds=59) < run.key_expires_at - run.created_at < timedelta(seconds=61)
    assert sorted(answer.duplicate for answer in later) == [False, True, True, True, True]
    assert len({answer.run_id for answer in later} - {first.run_id}) == 1
    assert world.run(first.run_id).idempotency_key is None


async def test_keys_are_kept_for_a_week_unless_the_workflow_says_otherwise(world: World) -> None:
    keyed = world.run((await world.trigger(world.workflow(LOG), key="k")).run_id)
    bare = world.run((await world.trigger(world.workflow(LOG))).run_id)

    assert keyed.key_expires_at is not None
    assert (keyed.key_expires_at - keyed.created_at).days == 7
    assert bare.key_expires_at is None


async def test_the_duty_forgets_what_has_expired_and_nothing_else(world: World) -> None:
    workflow_id = _by_input(world)
    old, young = [(await world.trigger(workflow_id, n, key=str(n))).run_id for n in (1, 2)]
    clock = SystemClock()
    _set_run(world, old, key_expires_at=clock.now())
    duty = Idempotency(world.engine, clock)

    done = (duty.run_once(), duty.run_once())

    assert [round_["keys"] for round_ in done] == [1, 0]
    assert (world.run(old).idempotency_key, world.run(old).input_hash) == (None, None)
    assert world.run(young).idempotency_key == "key:2"


async def test_an_equal_input_whose_run_has_succeeded_answers_with_that_run(world: World) -> None:
    workflow_id = _by_input(world)
    first = await world.trigger(workflow_id, {"a": 1, "b": [1.0]})
    at_work = await world.trigger(workflow_id, {"a": 1, "b": [1.0]})
    for run_id in (first.run_id, at_work.run_id):
        _set_run(world, run_id, status=RunStatus.FAILED)
    after_failure = await world.trigger(workflow_id, {"a": 1, "b": [1.0]})
    _set_run(world, after_failure.run_id, status=RunStatus.SUCCEEDED)

    same = await world.trigger(workflow_id, {"b": [1], "a": 1.0}, key="another")
    different = await world.trigger(workflow_id, {"a": 1, "b": ["1"]})

    made = [first, at_work, after_failure, different]
    assert [answer.duplicate for answer in made] == [False] * 4
    assert (same.run_id, same.duplicate) == (after_failure.run_id, True)
    assert same.status == "succeeded"


async def test_a_key_that_was_seen_goes_before_the_input(world: World) -> None:
    workflow_id = _by_input(world)
    keyed = await world.trigger(workflow_id, {"a": 1}, key="k")
    _set_run(world, keyed.run_id, status=RunStatus.FAILED)
    other = await world.trigger(workflow_id, {"a": 1})
    _set_run(world, other.run_id, status=RunStatus.SUCCEEDED)

    again = await world.trigger(workflow_id, {"a": 1}, key="k")
    new_key = await world.trigger(workflow_id, {"a": 1}, key="new")

    assert again.run_id == keyed.run_id
    assert new_key.run_id == other.run_id


async def test_an_input_is_remembered_no_longer_than_a_key(world: World) -> None:
    workflow_id = _by_input(world)
    first = await world.trigger(workflow_id, {})
    expired = SystemClock().now() - timedelta(seconds=1)
    _set_run(world, first.run_id, status=RunStatus.SUCCEEDED, key_expires_at=expired)

    assert (await world.trigger(workflow_id, {})).duplicate is False


async def test_inputs_of_other_workflows_do_not_count(world: World) -> None:
    first = await world.trigger(_by_input(world), {})
    _set_run(world, first.run_id, status=RunStatus.SUCCEEDED)

    assert (await world.trigger(_by_input(world), {})).duplicate is False
    assert (await world.trigger(world.workflow(LOG), {})).duplicate is False


async def test_a_key_that_a_duty_frees_at_the_same_moment_starts_a_run_that_there_is(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    if world.engine.dialect.name != "postgresql":
        pytest.skip("SQLite has one writer at a time")
    workflow_id = world.workflow(LOG)
    first = await world.trigger(workflow_id, key="k")
    _set_run(world, first.run_id, key_expires_at=SystemClock().now() - timedelta(seconds=1))
    free = dedupe.free_expired_keys

    def free_after_the_duty(*given: Any) -> bool:
        Idempotency(world.engine, SystemClock()).run_once()
        return free(*given)

    monkeypatch.setattr(dedupe, "free_expired_keys", free_after_the_duty)

    later = await world.trigger(workflow_id, key="k")

    assert later.duplicate is False
    assert {run.id for run in world.runs()} == {first.run_id, later.run_id}
