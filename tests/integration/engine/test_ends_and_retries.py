"""A run that has ended is retried, or its workflow given away: what belongs to that end is not taken for that of another."""

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection
from sqlmodel import Session, col, update

from app.core.clock import SystemClock
from app.core.config import Settings
from app.core.statuses import RunStatus, WaitKind
from app.engine.artifacts.folder import FolderObjects
from app.engine.artifacts.store import ArtifactStore
from app.engine.children import store as children_store
from app.engine.children.abandoned import cancel_abandoned
from app.engine.children.ending import ChildEndings
from app.engine.controls.control import Control
from app.engine.controls.pausing import pause_runs
from app.engine.controls.resuming import resume_runs
from app.engine.controls.retrying import retry_runs
from app.engine.delivery.process import WorkerProcess
from app.engine.duties.hook_calls import HookCalls
from app.engine.hooks import store
from app.engine.hooks.calling import Call
from app.engine.plans import PlanCache
from app.engine.registry import load_catalogue
from app.engine.waiting.closing import close_waits_of
from app.models import Run, Wait
from tests.integration.engine.families import (
    BAD,
    call,
    calls,
    cancel,
    change,
    child_of,
    children,
    somebody_else,
    transform,
    waits,
)
from tests.integration.engine.gates import GATES
from tests.integration.engine.world import World

URL = "http://hooks.example/failed"
Begin = Callable[[], WorkerProcess]


class HandClock(SystemClock):
    """A clock that the test moves."""

    def __init__(self) -> None:
        self.ahead = timedelta(seconds=1)  # never behind what a worker takes for the database's

    def now(self) -> datetime:
        return super().now() + self.ahead


def _control(world: World, do: Callable[..., Any], run_id: str) -> Any:
    control = Control("retry", "owner@example.com", SystemClock().now())
    with world.engine.begin() as connection:
        return do(connection, [run_id], control)


def _retry(world: World, run_id: str) -> None:
    plans = PlanCache(load_catalogue(world.settings.plugins_dir))
    control = Control("retry", "owner@example.com", SystemClock().now())
    with world.engine.begin() as connection:
        assert not retry_runs(connection, {run_id: None}, plans, control).refused


def _end(world: World, run_id: str, status: RunStatus) -> None:
    """Let a run end as its worker would."""
    with Session(world.engine) as session:
        ends = {"status": status, "finished_at": SystemClock().now(), "epoch": Run.epoch + 1}
        session.exec(update(Run).where(col(Run.id) == run_id).values(**ends))
        session.commit()


def _ask_to_call(world: World, run_id: str, due: datetime) -> None:
    row = {"run_id": run_id, "url": URL, "next_try_at": due, "last_error": None}
    with world.engine.begin() as connection:
        store.PUT_CALLS.run(connection, [row])


class Answers:
    """Stands for the network: writes down what is called, and does as the test says while it is called."""

    def __init__(self, *errors: str | None) -> None:
        self.errors = list(errors)
        self.made: list[Call] = []
        self.meanwhile: Callable[[], object] = dict

    def __call__(self, due: Sequence[Call]) -> Sequence[str | None]:
        self.made += due
        meanwhile, self.meanwhile = self.meanwhile, dict
        error = self.errors.pop(0) if self.errors else None
        meanwhile()
        return [error] * len(due)


async def _failed_run(world: World) -> str:
    run_id = (await world.trigger(world.workflow(BAD))).run_id
    _end(world, run_id, RunStatus.FAILED)
    return run_id


class TestCallsOfUrls:
    async def test_for_a_failure_are_not_made_for_the_success_of_the_retried_run(
        self, world: World
    ) -> None:
        clock, answers = HandClock(), Answers("It answered 500.")
        run_id = await _failed_run(world)
        _ask_to_call(world, run_id, clock.now())
        duty = HookCalls(world.engine, clock, answers)
        duty.run_once()

        _retry(world, run_id)
        _end(world, run_id, RunStatus.SUCCEEDED)
        clock.ahead += timedelta(hours=1)
        duty.run_once()

        (told,) = calls(world)
        assert [made.body["event"] for made in answers.made if made.body] == ["on_failure"]
        assert (told.next_try_at, told.answered_at) == (None, None)
        assert "retried" in (told.last_error or "")

    async def test_of_an_earlier_end_do_not_answer_those_of_a_later_one(self, world: World) -> None:
        clock, answers = HandClock(), Answers(None, "It answered 500.")
        run_id = await _failed_run(world)
        _ask_to_call(world, run_id, clock.now())
        duty = HookCalls(world.engine, clock, answers)

        def fail_again() -> None:
            _retry(world, run_id)
            _end(world, run_id, RunStatus.FAILED)
            _ask_to_call(world, run_id, clock.now())
            clock.ahead += timedelta(seconds=1)
            duty.run_once()

        answers.meanwhile = fail_again
        duty.run_once()

        (told,) = calls(world)
        assert len(answers.made) == 2
        assert (told.answered_at, told.last_error) == (None, "It answered 500.")
        assert told.next_try_at is not None

    async def test_carry_another_key_for_another_end(self, world: World) -> None:
        clock, answers = HandClock(), Answers()
        run_id = await _failed_run(world)
        duty = HookCalls(world.engine, clock, answers)

        for _ in range(2):
            _ask_to_call(world, run_id, clock.now())
            duty.run_once()
            _retry(world, run_id)
            _end(world, run_id, RunStatus.FAILED)

        first, second = (made.key for made in answers.made)
        assert first != second
        assert {first.rpartition(":")[0], second.rpartition(":")[0]} == {f"{run_id}:on_failure"}


async def test_the_end_of_a_run_calls_nothing_that_a_later_owner_of_the_workflow_names(
    world: World, begin: Begin
) -> None:
    """They may not see the run; nor may they have workflows started in the name of the one before them."""
    workflow, namesake = world.workflow(BAD), world.workflow(transform("fine"))
    change(world, namesake, name="Payouts")
    run_id = (await world.trigger(workflow)).run_id
    hooks = [{"url": URL}, {"workflow": "Payouts"}]
    change(world, workflow, owner_id=somebody_else(world), on_failure=hooks)

    begin()
    run = await world.ended(run_id)

    assert (run.status, run.hooks) == (RunStatus.FAILED, None)
    assert children(world, run_id) == []


class TestARetriedSubWorkflow:
    @pytest.fixture
    def settings(self, settings: Settings) -> Iterator[Settings]:
        GATES.clear()
        plugins = Path(__file__).parent / "gated_nodes"
        yield settings.model_copy(update={"plugins_dir": plugins})
        GATES.clear()

    async def _told_of_a_failure(self, world: World) -> tuple[str, str]:
        """Let a paused run be told that the one below it has failed, and that one be retried by a person; return both."""
        below = world.workflow({"id": "a", "type": "gated", "config": {"gate": "a"}})
        parent = (await world.trigger(world.workflow(call(below)))).run_id
        child = (await child_of(world, parent)).id
        await world.until_status(parent, RunStatus.WAITING)
        assert _control(world, pause_runs, parent) == {parent}
        GATES["a"].fails = True
        GATES["a"].opened.set()
        await world.until(lambda: any(wait.resolution for wait in waits(world)))
        GATES.clear()
        _retry(world, child)
        await world.until(lambda: GATES["a"].entered == 1)
        return parent, child

    @pytest.mark.usefixtures("worker")
    async def test_goes_on_when_the_step_takes_over_that_it_had_failed(self, world: World) -> None:
        parent, child = await self._told_of_a_failure(world)

        _control(world, resume_runs, parent)
        run = await world.ended(parent)
        left = waits(world)
        GATES["a"].opened.set()

        assert run.error["code"] == "child_failed"
        assert left == []
        assert (await world.ended(child)).status is RunStatus.SUCCEEDED

    @pytest.mark.usefixtures("worker")
    async def test_goes_on_when_the_run_is_cancelled_that_was_told_of_its_failure(
        self, world: World
    ) -> None:
        parent, child = await self._told_of_a_failure(world)

        cancelled = cancel(world, parent)
        left = waits(world)
        GATES["a"].opened.set()

        assert cancelled == {parent}
        assert left == []
        assert (await world.ended(child)).status is RunStatus.SUCCEEDED


async def test_a_sub_workflow_that_is_left_behind_while_an_earlier_end_of_it_is_told_is_cancelled(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    parent, child = (await world.trigger(world.workflow(BAD))).run_id, await _failed_run(world)
    _wait_for(world, parent, child)
    endings = ChildEndings(
        world.engine, SystemClock(), ArtifactStore(FolderObjects(Path())), lambda _: None
    )
    find = children_store.FIND_ENDED.run

    def find_and_leave_behind(connection: Connection, **values: Any) -> Any:
        found = find(connection, **values)
        connection.commit()
        _retry(world, child)
        with world.engine.begin() as another:
            close_waits_of(another, [parent])
        return found

    monkeypatch.setattr(children_store.FIND_ENDED, "run", find_and_leave_behind)
    told = endings.tell_all()
    cancel_abandoned(world.engine, SystemClock(), lambda _: None)

    assert told == 0
    assert world.run(child).status is RunStatus.CANCELLED
    assert waits(world) == []


def _wait_for(world: World, parent: str, child: str) -> None:
    """Let a step of one run wait for another run."""
    with Session(world.engine) as session:
        session.add(
            Wait(
                run_id=parent,
                path="call",
                attempt=1,
                owner_id=world.owner_id,
                kind=WaitKind.RUN,
                on_due={"code": "step_timed_out"},
                child_run_id=child,
                created_at=SystemClock().now(),
            )
        )
        session.commit()
