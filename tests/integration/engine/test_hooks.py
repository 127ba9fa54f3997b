"""What the engine calls when a run has ended, however it ended."""

import asyncio
from collections.abc import Sequence
from datetime import datetime, timedelta
from types import SimpleNamespace
from typing import Any

import orjson
import pytest
from sqlmodel import Session

from app.core.clock import SystemClock
from app.core.config import Settings
from app.core.statuses import RunStatus, SwitchMode, SwitchScope, TriggerKind
from app.engine.children import targets
from app.engine.delivery.process import WorkerProcess
from app.engine.duties.hook_calls import BATCH, HookCalls
from app.engine.egress.client import build_client
from app.engine.egress.policy import build_policy
from app.engine.guards.gate import Gate
from app.engine.guards.switches import KillSwitch
from app.engine.hooks.calling import MAX_TRIES, PAUSES_SECONDS, Call, call_all
from app.models import HookCall, Run
from app.services.triggers import TriggerRequest
from tests.integration.engine.families import (
    A_DAY,
    BAD,
    call,
    calls,
    cancel,
    change,
    children,
    somebody_else,
    transform,
)
from tests.integration.engine.world import World, owner_claims

GOOD = transform("fine")
REPORT = transform("${{ input }}")


class HandClock(SystemClock):
    """A clock that the test moves."""

    def __init__(self) -> None:
        self.ahead = timedelta(seconds=1)  # never behind what a worker takes for the database's

    def now(self) -> datetime:
        return super().now() + self.ahead


class Target:
    """A server that answers with the given statuses, then 200; `asked` are the requests' keys and bodies."""

    def __init__(self, *statuses: int) -> None:
        self.statuses = list(statuses)
        self.asked: list[tuple[str, dict[str, Any]]] = []

    async def __aenter__(self) -> "Target":
        self.server = await asyncio.start_server(self._answer, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self.server.sockets[0].getsockname()[1]}/hook"
        return self

    async def __aexit__(self, *_: object) -> None:
        self.server.close()
        await self.server.wait_closed()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        lines = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        headers = dict(line.lower().split(": ", 1) for line in lines[1:] if line)
        body = await reader.readexactly(int(headers["content-length"]))
        self.asked.append((headers["idempotency-key"], orjson.loads(body)))
        status = self.statuses.pop(0) if self.statuses else 200
        writer.write(
            f"HTTP/1.1 {status} So\r\ncontent-length: 0\r\nconnection: close\r\n\r\n".encode()
        )
        await writer.drain()
        writer.close()


async def _hook_run(world: World, run_id: str) -> Any:
    await world.until(lambda: bool(children(world, run_id)))
    return await world.ended(children(world, run_id)[0].id)


@pytest.mark.usefixtures("worker")
class TestAWorkflow:
    async def test_is_started_when_a_run_has_succeeded(self, world: World) -> None:
        workflow = world.workflow(GOOD)
        change(world, workflow, on_success=[{"workflow": world.workflow(REPORT)}], name="Orders")

        run = await world.start(workflow)
        hook = await _hook_run(world, run.id)

        told = hook.output["run"]
        assert (hook.trigger_kind, hook.depth, hook.parent_path) == (TriggerKind.HOOK, 1, None)
        assert hook.output["event"] == "on_success"
        assert (told["id"], told["status"], told["output"]) == (run.id, "succeeded", "fine")
        assert (told["workflow_id"], told["workflow_name"]) == (workflow, "Orders")
        assert world.run(run.id).hooks is None

    async def test_is_started_when_a_run_has_failed(self, world: World) -> None:
        workflow = world.workflow(BAD)
        hooks = [{"workflow": world.workflow(REPORT)}]
        change(world, workflow, on_failure=hooks, on_success=[{"workflow": "nobody"}])

        run = await world.start(workflow)
        hook = await _hook_run(world, run.id)

        assert hook.output["event"] == "on_failure"
        assert hook.output["run"]["error"] == {"step": "bad", "code": "nope", "message": "no"}

    async def test_is_started_when_a_run_has_timed_out(self, world: World) -> None:
        workflow = world.workflow(A_DAY, timeout_seconds=0.3)
        change(world, workflow, on_failure=[{"workflow": world.workflow(REPORT)}])

        run = await world.start(workflow)

        assert (await _hook_run(world, run.id)).output["run"]["status"] == "timed_out"

    async def test_is_started_when_the_definition_could_not_run(self, world: World) -> None:
        workflow = world.workflow({"type": "no_such_node"})
        change(world, workflow, on_failure=[{"workflow": world.workflow(REPORT)}])

        run = await world.start(workflow)

        told = (await _hook_run(world, run.id)).output["run"]
        assert told["error"]["code"] == "definition_not_runnable"

    async def test_is_not_started_when_a_run_is_cancelled(self, world: World) -> None:
        workflow, hook = world.workflow(A_DAY), world.workflow(GOOD)
        change(world, workflow, on_failure=[{"workflow": hook}], on_success=[{"workflow": hook}])
        run_id = (await world.trigger(workflow)).run_id
        await world.until_status(run_id, RunStatus.WAITING)

        cancel(world, run_id)

        assert world.run(run_id).hooks is None
        assert children(world, run_id) == []

    async def test_is_started_when_a_sub_workflow_ends(self, world: World) -> None:
        child = world.workflow(GOOD)
        change(world, child, on_success=[{"workflow": world.workflow(REPORT)}])

        run = await world.start(world.workflow(call(child)))

        (made,) = children(world, run.id)
        assert (await _hook_run(world, made.id)).output["run"]["trigger"] == "run"

    async def test_that_calls_itself_ends_at_the_limit(
        self, world: World, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(targets, "MAX_DEPTH", 2)
        workflow = world.workflow(GOOD)
        change(world, workflow, on_success=[{"workflow": workflow}])

        await world.start(workflow)
        await world.until(lambda: bool(calls(world)))

        (refused,) = calls(world)
        assert max(run.depth for run in world.runs()) == 2
        assert "2 deep at most" in (refused.last_error or "")

    async def test_that_cannot_be_run_leaves_a_line_in_the_history(self, world: World) -> None:
        workflow, hook = world.workflow(GOOD), world.workflow(GOOD)
        change(world, workflow, on_success=[{"workflow": hook}])
        change(world, hook, enabled=False)

        run = await world.start(workflow)
        await world.until(lambda: bool(calls(world)))

        (refused,) = calls(world)
        assert (refused.run_id, refused.url) == (run.id, f"workflow:{hook}")
        assert "is disabled" in (refused.last_error or "")
        assert refused.next_try_at is None


async def test_hooks_are_called_after_the_death_of_every_worker(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    workflow = world.workflow(GOOD)
    change(world, workflow, on_success=[{"workflow": world.workflow(REPORT)}])
    dying = WorkerProcess(world.settings)
    for duty in dying._finding:
        if duty._duty.name == "hooks":
            monkeypatch.setattr(duty._duty, "run_once", dict)
    dying.begin()
    run = await world.start(workflow)
    await dying.end()
    before = children(world, run.id)

    process = WorkerProcess(world.settings)
    process.begin()
    hook = await _hook_run(world, run.id)
    await process.end()

    assert before == []
    assert hook.output["run"]["id"] == run.id
    assert len(children(world, run.id)) == 1


class TestAUrl:
    @pytest.fixture
    def clock(self) -> HandClock:
        return HandClock()

    def _duty(self, world: World, clock: HandClock, *egress_allow: str) -> HookCalls:
        """Return the duty with a client of its own: it is run in a thread of its own, too."""

        def call_urls(due: Sequence[Call]) -> Sequence[str | None]:
            async def make() -> Sequence[str | None]:
                async with build_client(build_policy(egress_allow)) as client:
                    return await call_all(client, due)

            return asyncio.run(make())

        return HookCalls(world.engine, clock, call_urls)

    async def _ended(self, world: World, url: str) -> str:
        """Let a run end whose workflow calls a URL; returns its id."""
        workflow = world.workflow(BAD)
        change(world, workflow, on_failure=[{"url": url}])
        process = WorkerProcess(world.settings)
        for duty in process._finding:
            if duty._duty.name == "hook_calls":
                duty._duty.run_once = dict  # type: ignore[method-assign]  # the test makes the calls
        process.begin()
        run = await world.start(workflow)
        await world.until(lambda: bool(calls(world)))
        await process.end()
        return run.id

    async def test_is_called_again_after_a_500(self, world: World, clock: HandClock) -> None:
        async with Target(500) as target:
            run_id = await self._ended(world, target.url)
            duty = self._duty(world, clock, "127.0.0.0/8")

            first = await asyncio.to_thread(duty.run_once)
            refused = calls(world)[0]
            too_soon = await asyncio.to_thread(duty.run_once)
            clock.ahead += timedelta(seconds=PAUSES_SECONDS[0] + 1)
            second = await asyncio.to_thread(duty.run_once)

        (made,) = calls(world)
        assert (first["unanswered"], too_soon["unanswered"], second["answered"]) == (1, 0, 1)
        assert refused.last_error == "It answered 500."
        assert (made.tries, made.next_try_at, made.last_error) == (2, None, None)
        assert made.answered_at is not None
        assert [key for key, _ in target.asked] == [f"{run_id}:on_failure:1"] * 2
        assert target.asked[0][1] == target.asked[1][1]
        assert target.asked[0][1]["run"]["error"]["code"] == "nope"

    async def test_that_never_answers_is_given_up(self, world: World, clock: HandClock) -> None:
        async with Target(*[503] * 20) as target:
            await self._ended(world, target.url)
            duty = self._duty(world, clock, "127.0.0.0/8")

            for _ in range(MAX_TRIES + 2):
                await asyncio.to_thread(duty.run_once)
                clock.ahead += timedelta(seconds=PAUSES_SECONDS[-1] + 1)

        (made,) = calls(world)
        assert (made.tries, len(target.asked)) == (MAX_TRIES, MAX_TRIES)
        assert (made.next_try_at, made.answered_at) == (None, None)

    async def test_of_a_private_address_is_not_called(self, world: World, clock: HandClock) -> None:
        async with Target() as target:
            await self._ended(world, target.url)

            await asyncio.to_thread(self._duty(world, clock).run_once)

        (made,) = calls(world)
        assert target.asked == []
        assert made.last_error is not None
        assert made.next_try_at is not None

    async def test_is_called_by_one_worker_at_a_time(self, world: World, clock: HandClock) -> None:
        async with Target() as target:
            await self._ended(world, target.url)
            duties = [self._duty(world, clock, "127.0.0.0/8") for _ in range(3)]

            await asyncio.gather(*(asyncio.to_thread(duty.run_once) for duty in duties))

        assert len(target.asked) == 1

    async def test_is_called_by_a_worker_of_its_own_accord(
        self, world: World, settings: Settings, worker: WorkerProcess
    ) -> None:
        del settings, worker
        async with Target() as target:
            workflow = world.workflow(GOOD)
            change(world, workflow, on_success=[{"url": target.url}, {"url": target.url}])

            run = await world.start(workflow)
            await world.until(lambda: bool(target.asked))
            await world.until(lambda: calls(world)[0].answered_at is not None)

        assert target.asked[0][0] == f"{run.id}:on_success:1"
        assert len(target.asked) == 1


@pytest.mark.usefixtures("worker")
class TestAHookRun:
    async def _started(self, world: World, hook: str) -> Run:
        """Start a run by hand, on some grounds, whose success calls the hook; returns it when it has ended."""
        workflow = world.workflow(GOOD)
        change(world, workflow, on_success=[{"workflow": hook}])
        request = TriggerRequest(
            workflow,
            TriggerKind.MANUAL,
            owner_claims(world),
            None,
            {},
            context={"data_scope": "Orders"},
        )
        return await world.ended((await world.desk.submit(request)).run_id)

    async def test_is_by_whoever_started_the_run_and_on_its_grounds(self, world: World) -> None:
        hook = world.workflow(REPORT)
        change(world, hook, context_required={"required": ["data_scope"]})

        made = await _hook_run(world, (await self._started(world, hook)).id)

        assert made.started_by == "owner@example.com"
        assert made.context == {"data_scope": "Orders"}

    async def test_is_not_made_without_the_grounds_that_it_requires(self, world: World) -> None:
        hook = world.workflow(REPORT)
        change(world, hook, context_required={"required": ["legal_basis"]})

        run = await self._started(world, hook)
        await world.until(lambda: bool(calls(world)))

        (told,) = calls(world)
        assert "requires `legal_basis`" in (told.last_error or "")
        assert children(world, run.id) == []


async def test_whoever_has_many_calls_keeps_nobody_else_waiting(world: World) -> None:
    clock, many, one = HandClock(), world.workflow(GOOD), world.workflow(GOOD)
    change(world, one, owner_id=somebody_else(world))
    flood, single = (await world.trigger(many)).run_id, (await world.trigger(one)).run_id
    with Session(world.engine) as session:
        due = clock.now() - timedelta(hours=1)
        for number in range(BATCH + 10):
            url = f"http://slow.example/{number}"
            session.add(HookCall(run_id=flood, url=url, tries=0, next_try_at=due))
        due += timedelta(minutes=1)
        session.add(HookCall(run_id=single, url="http://a.example/", tries=0, next_try_at=due))
        session.commit()
    taken: list[Call] = []

    def answer(due_now: Sequence[Call]) -> Sequence[str | None]:
        taken.extend(due_now)
        return [None] * len(due_now)

    counts = HookCalls(world.engine, clock, answer).run_once()

    assert counts["answered"] == len(taken) == BATCH
    assert single in {call.run_id for call in taken}


@pytest.mark.parametrize("scope", [SwitchScope.USER, SwitchScope.WORKFLOW])
async def test_what_a_switch_of_its_owner_or_workflow_halts_calls_nobody_and_loses_no_try(
    world: World, scope: SwitchScope
) -> None:
    clock, run = HandClock(), await world.trigger(world.workflow(GOOD))
    target = world.owner_id if scope is SwitchScope.USER else world.run(run.run_id).workflow_id
    switch = KillSwitch("", scope, target, SwitchMode.HALT, "it floods us")
    known = SimpleNamespace(switches=(switch,), fresh=lambda: True)
    with Session(world.engine) as session:
        due = clock.now() - timedelta(hours=1)
        session.add(HookCall(run_id=run.run_id, url="http://a.example/", tries=1, next_try_at=due))
        row = session.get_one(Run, run.run_id)
        row.status, row.finished_at = RunStatus.SUCCEEDED, due
        session.commit()
    taken: list[Call] = []

    def answer(due_now: Sequence[Call]) -> Sequence[str | None]:
        taken.extend(due_now)
        return [None] * len(due_now)

    HookCalls(world.engine, clock, answer, Gate(known, clock)).run_once()
    (kept,) = calls(world)
    known.switches = ()
    clock.ahead += timedelta(minutes=1)
    HookCalls(world.engine, clock, answer, Gate(known, clock)).run_once()

    assert (kept.tries, kept.answered_at) == (1, None)
    assert [(call.url, call.tries) for call in taken] == [("http://a.example/", 2)]
