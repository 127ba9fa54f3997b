"""Steps that run other workflows: waited for or not, and ended with those who wait for them."""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection
from sqlalchemy.exc import OperationalError

from app.core.clock import SystemClock
from app.core.config import Settings
from app.core.ids import new_id
from app.core.statuses import AttemptStatus, RunStatus, TriggerKind
from app.engine import commands
from app.engine.checkpoint import RunFacts
from app.engine.children.targets import Targets
from app.engine.delivery.process import WorkerProcess
from app.engine.followups import Followups
from app.engine.intake import accept
from app.engine.sdk import Fail
from app.models import Run
from app.services.triggers import TriggerRequest
from tests.integration.engine.families import (
    A_DAY,
    BAD,
    add_version,
    call,
    cancel,
    change,
    child_of,
    children,
    somebody_else,
    transform,
    waits,
)
from tests.integration.engine.world import World, owner_claims

DOUBLE = transform("${{ input.n * 2 }}")
MEGABYTE = 1_000_000


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return settings.model_copy(update={"plugins_dir": Path(__file__).parent / "large_nodes"})


@pytest.mark.usefixtures("worker")
class TestAStep:
    async def test_waits_for_the_run_and_gets_its_output(self, world: World) -> None:
        child = world.workflow(DOUBLE)
        use = transform("${{ steps.call.output.output + 1 }}", "use")

        run = await world.start(world.workflow(call(child, input={"n": 21}), use))

        (made,) = children(world, run.id)
        assert (run.status, run.output) == (RunStatus.SUCCEEDED, 43)
        assert world.attempts(run.id)[0].output == {
            "run_id": made.id,
            "status": "succeeded",
            "output": 42,
        }
        assert (made.trigger_kind, made.depth) == (TriggerKind.RUN, 1)
        assert (made.parent_run_id, made.parent_path) == (run.id, "call")
        assert made.owner_id == world.owner_id
        assert waits(world) == []

    async def test_shows_the_run_that_it_waits_for(self, world: World) -> None:
        run_id = (await world.trigger(world.workflow(call(world.workflow(A_DAY))))).run_id

        await world.until_status(run_id, RunStatus.WAITING)

        (made,) = children(world, run_id)
        shown = [{"step": "call", "kind": "run", "run_id": made.id}]
        assert world.run(run_id).waiting_for == shown
        assert world.run(run_id).worker_id is None

    async def test_goes_on_at_once_when_it_is_not_to_wait(self, world: World) -> None:
        run = await world.start(world.workflow(call(world.workflow(BAD), wait=False)))

        (made,) = children(world, run.id)
        assert run.status is RunStatus.SUCCEEDED
        assert run.output == {"run_id": made.id, "status": "queued", "output": None}
        assert (await world.ended(made.id)).status is RunStatus.FAILED

    async def test_gets_a_large_output_too(self, world: World) -> None:
        child = world.workflow({"type": "blob", "config": {"bytes": 3 * MEGABYTE}})
        measure = transform("${{ size(steps.call.output.output) }}", "measure")

        run = await world.start(world.workflow(call(child), measure))

        assert (run.status, run.output) == (RunStatus.SUCCEEDED, 3 * MEGABYTE - 2)
        assert world.attempts(run.id)[0].output_artifact is not None

    async def test_hands_on_data_that_looks_like_an_expression_as_it_is(self, world: World) -> None:
        child = world.workflow(transform("${{ input }}"))

        run = await world.start(
            world.workflow(call(child, input="${{ input }}")), {"name": "${{ 7*7 }}"}
        )

        assert run.output["output"] == {"name": "${{ 7*7 }}"}

    async def test_fails_when_the_run_fails(self, world: World) -> None:
        run = await world.start(world.workflow(call(world.workflow(BAD))))

        (made,) = children(world, run.id)
        assert (run.status, run.error["code"]) == (RunStatus.FAILED, "child_failed")
        assert run.error["data"] == {
            "run_id": made.id,
            "status": "failed",
            "error": {"step": "bad", "code": "nope", "message": "no"},
        }

    async def test_tries_again_with_another_run(self, world: World) -> None:
        retry = {"max_attempts": 3, "initial_delay_seconds": 0}

        run = await world.start(world.workflow(call(world.workflow(BAD), retry=retry)))

        made = children(world, run.id)
        assert len({child.id for child in made}) == 3
        assert [row.status for row in world.attempts(run.id)] == [AttemptStatus.FAILED] * 3

    async def test_fails_when_the_run_times_out(self, world: World) -> None:
        child = world.workflow(A_DAY, timeout_seconds=0.3)

        run = await world.start(world.workflow(call(child)))

        assert run.error["code"] == "child_timed_out"

    async def test_fails_when_the_run_is_cancelled(self, world: World) -> None:
        run_id = (await world.trigger(world.workflow(call(world.workflow(A_DAY))))).run_id
        made = await child_of(world, run_id)

        cancel(world, made.id)

        run = await world.ended(run_id)
        assert run.error["code"] == "child_cancelled"

    async def test_runs_several_at_once_in_a_loop(self, world: World) -> None:
        body = [call(world.workflow(DOUBLE), input={"n": "${{ item }}"})]
        config = {"items": "[1, 2, 3]", "concurrency": 3}
        loop = {"id": "each", "type": "for_each", "config": config, "steps": body}

        run = await world.start(world.workflow(loop))

        assert [output["output"] for output in run.output] == [2, 4, 6]
        paths = {child.parent_path for child in children(world, run.id)}
        assert paths == {"each[0].call", "each[1].call", "each[2].call"}


@pytest.mark.usefixtures("worker")
class TestTheWorkflow:
    async def test_is_found_by_its_name(self, world: World) -> None:
        change(world, world.workflow(transform("named")), name="Ship an order")

        run = await world.start(world.workflow(call("Ship an order")))

        assert run.output["output"] == "named"

    async def test_runs_its_newest_version_or_the_one_that_is_asked_for(self, world: World) -> None:
        child = world.workflow(transform("old"))
        add_version(world, child, transform("new"))

        newest = await world.start(world.workflow(call(child)))
        first = await world.start(world.workflow(call(child, version=1)))

        assert (newest.output["output"], first.output["output"]) == ("new", "old")

    async def test_that_cannot_be_run_fails_the_step_for_good(self, world: World) -> None:
        child = world.workflow(DOUBLE)
        change(world, child, enabled=False)

        run = await world.start(world.workflow(call(child, retry={"max_attempts": 3})))

        assert (run.status, run.error["code"]) == (RunStatus.FAILED, "workflow_disabled")
        assert len(world.attempts(run.id)) == 1
        assert children(world, run.id) == []

    async def test_that_calls_itself_ends_at_the_limit(self, world: World) -> None:
        run = await world.start(world.workflow(call("${{ workflow.id }}")))

        assert run.status is RunStatus.FAILED
        assert max(one.depth for one in world.runs()) == 10
        assert len(world.runs()) == 11
        assert "10 deep at most" in run.error["message"]


class TestARefusal:
    async def _code(self, world: World, workflow: str, version: int | None = None) -> str:
        """Return why a workflow cannot be run on `{"n": "seven"}`."""
        facts = RunFacts(world.owner_id, workflow)
        with pytest.raises(Fail) as refused:
            await Targets(world.engine).find(new_id(), facts, workflow, version, {"n": "seven"})
        return refused.value.code

    async def test_tells_what_is_wrong_with_the_workflow(self, world: World) -> None:
        deleted, disabled, first = (world.workflow(DOUBLE) for _ in range(3))
        world.workflow(DOUBLE)
        change(world, deleted, deleted_at=SystemClock().now(), name="deleted")
        change(world, disabled, enabled=False, name="disabled")

        assert await self._code(world, "nobody") == "unknown_workflow"
        assert await self._code(world, deleted) == "unknown_workflow"
        assert await self._code(world, "deleted") == "unknown_workflow"
        assert await self._code(world, "disabled") == "workflow_disabled"
        assert await self._code(world, "test") == "ambiguous_workflow"
        assert await self._code(world, first, 7) == "unknown_version"

    async def test_a_disabled_namesake_stands_in_nobodys_way(self, world: World) -> None:
        wanted, given = world.workflow(DOUBLE), world.workflow(DOUBLE)
        change(world, wanted, name="Payouts")
        change(world, given, name="Payouts", enabled=False)  # as a transfer leaves it

        facts = RunFacts(world.owner_id, wanted)
        found = await Targets(world.engine).find(new_id(), facts, "Payouts", None, {"n": 1})

        assert found.workflow_id == wanted

    async def test_tells_that_the_input_does_not_fit(self, world: World) -> None:
        inputs = {"type": "object", "properties": {"n": {"type": "integer"}}}

        assert await self._code(world, world.workflow(DOUBLE, inputs=inputs)) == "invalid_input"

    async def test_knows_nothing_of_what_others_own(self, world: World) -> None:
        workflow = world.workflow(DOUBLE)
        change(world, workflow, owner_id=somebody_else(world), name="theirs")

        assert await self._code(world, workflow) == "unknown_workflow"
        assert await self._code(world, "theirs") == "unknown_workflow"


@pytest.mark.usefixtures("worker")
class TestWhatEndsAStep:
    async def test_a_cancel_passes_down_two_levels(self, world: World) -> None:
        middle = world.workflow(call(world.workflow(A_DAY)))
        run_id = (await world.trigger(world.workflow(call(middle)))).run_id
        child = await child_of(world, run_id)
        grandchild = await child_of(world, child.id)

        cancelled = cancel(world, run_id)

        assert cancelled == {run_id, child.id, grandchild.id}
        assert world.run(grandchild.id).status is RunStatus.CANCELLED
        assert waits(world) == []

    async def test_a_cancel_leaves_runs_alone_that_nobody_waits_for(self, world: World) -> None:
        steps = call(world.workflow(A_DAY), wait=False), A_DAY
        run_id = (await world.trigger(world.workflow(*steps))).run_id
        child = await child_of(world, run_id)
        await world.until_status(child.id, RunStatus.WAITING)

        cancelled = cancel(world, run_id)

        assert cancelled == {run_id}
        assert world.run(child.id).status is RunStatus.WAITING

    async def test_the_time_out_of_its_run_cancels_what_it_waits_for(self, world: World) -> None:
        middle = world.workflow(call(world.workflow(A_DAY)))
        workflow = world.workflow(call(middle), timeout_seconds=0.5)

        run = await world.start(workflow)

        (child,) = children(world, run.id)
        (grandchild,) = children(world, child.id)
        assert run.status is RunStatus.TIMED_OUT
        assert (await world.ended(child.id)).status is RunStatus.CANCELLED
        assert (await world.ended(grandchild.id)).status is RunStatus.CANCELLED
        assert world.run(child.id).control["by"] == "engine"
        await world.until(lambda: waits(world) == [])

    async def test_its_own_time_out_fails_it_and_cancels_what_it_waits_for(
        self, world: World
    ) -> None:
        run = await world.start(
            world.workflow(call(world.workflow(A_DAY), timeout_seconds=0.4), A_DAY)
        )

        (child,) = children(world, run.id)
        assert run.error["code"] == "step_timed_out"
        assert (await world.ended(child.id)).status is RunStatus.CANCELLED

    async def test_a_failure_elsewhere_cancels_what_it_waits_for(self, world: World) -> None:
        waiting = {**call(world.workflow(A_DAY)), "depends_on": []}
        nap = {"id": "nap", "type": "delay", "config": {"seconds": 0.5}, "depends_on": []}

        run = await world.start(world.workflow(waiting, nap, {**BAD, "depends_on": ["nap"]}))

        (child,) = children(world, run.id)
        assert run.error["code"] == "nope"
        assert (await world.ended(child.id)).status is RunStatus.CANCELLED


class TestMishaps:
    async def test_a_commit_whose_answer_was_lost_makes_one_run(
        self, world: World, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        lost: list[Sequence[Any]] = []

        def accept_and_lose(connection: Connection, runs: Sequence[Any], now: Any) -> Any:
            accepted = accept(connection, runs, now)
            if not lost:
                lost.append(runs)
                connection.commit()
                raise OperationalError("the answer is lost", None, OSError())
            return accepted

        monkeypatch.setattr(commands, "accept", accept_and_lose)
        workflow = world.workflow(call(world.workflow(DOUBLE), input={"n": 1}))
        process = WorkerProcess(world.settings)
        process.begin()

        run = await world.start(workflow)

        await process.end()
        assert (run.status, len(children(world, run.id))) == (RunStatus.SUCCEEDED, 1)

    async def test_follow_ups_that_never_happened_are_made_up_for(
        self, world: World, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def forget(_: WorkerProcess, __: Followups) -> None:
            """Die before anything follows."""

        monkeypatch.setattr(WorkerProcess, "_follow_up", forget)
        monkeypatch.setattr("app.engine.intake.store.HINT_GRACE_SECONDS", 0.0)
        workflow = world.workflow(call(world.workflow(DOUBLE), input={"n": 1}))
        process = WorkerProcess(world.settings)
        process.begin()

        run = await world.start(workflow)

        await process.end()
        assert (run.status, len(children(world, run.id))) == (RunStatus.SUCCEEDED, 1)

    async def test_a_worker_that_dies_in_the_attempt_leaves_no_run_behind(
        self, world: World, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        dying = WorkerProcess(world.settings)
        monkeypatch.setattr(dying._journal, "write", _never)
        dying.begin()
        workflow = world.workflow(call(world.workflow(DOUBLE), input={"n": 1}))
        run_id = (await world.trigger(workflow)).run_id
        await world.until_status(run_id, RunStatus.RUNNING)
        dying._orchestrator.drop_all()
        await dying.end()
        process = WorkerProcess(world.settings)
        process.begin()

        run = await world.ended(run_id)

        await process.end()
        statuses = [row.status for row in world.attempts(run_id)]
        assert statuses == [AttemptStatus.LOST, AttemptStatus.SUCCEEDED]
        assert (run.status, len(children(world, run_id))) == (RunStatus.SUCCEEDED, 1)


async def _never(_: object) -> None:
    """Stand for a worker that is cut off: what it would write is never written."""
    await asyncio.Event().wait()


@pytest.mark.usefixtures("worker")
class TestGrounds:
    async def test_go_down_with_the_run_that_a_step_starts(self, world: World) -> None:
        child = world.workflow(DOUBLE)
        rules = {"required": ["data_scope"], "defaults": {"assumptions": ["fresh"]}}
        change(world, child, context_required=rules)

        run = await begin(world, call(child, input={"n": 1}), context={"data_scope": "Orders"})

        (made,) = children(world, run.id)
        assert run.status is RunStatus.SUCCEEDED
        assert made.context == {"data_scope": "Orders", "assumptions": ["fresh"]}

    async def test_that_a_workflow_requires_must_be_there(self, world: World) -> None:
        child = world.workflow(DOUBLE)
        change(world, child, context_required={"required": ["legal_basis"]})

        run = await world.start(world.workflow(call(child, input={"n": 1})))

        assert (run.status, run.error["code"]) == (RunStatus.FAILED, "missing_context")
        assert children(world, run.id) == []


async def begin(world: World, step: dict[str, Any], context: dict[str, Any]) -> Run:
    """Start a run by hand with a context, and wait for its end."""
    request = TriggerRequest(
        world.workflow(step),
        TriggerKind.MANUAL,
        owner_claims(world),
        None,
        {},
        context=context,
    )
    return await world.ended((await world.desk.submit(request)).run_id)
