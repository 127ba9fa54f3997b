"""Events and the runs that wait for them, or that they start, on both databases and with a real worker."""

import asyncio
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlmodel import Session, select

from app.core.errors import Unavailable
from app.core.ids import new_id
from app.core.statuses import AttemptStatus, RunStatus, TriggerKind
from app.engine.delivery.process import WorkerProcess
from app.engine.duties.events import Events
from app.engine.events.matcher import Matcher
from app.engine.events.starting import MAX_EVENT_DEPTH
from app.engine.journal import Journal
from app.engine.planning.record import rfc3339
from app.models import Event, Run, User, Wait, Workflow
from app.services.events import EventRequest
from tests.integration.engine.publisher import DAY, PAYMENT, Publisher, ShiftedClock
from tests.integration.engine.world import World, owner_claims

WAIT = {
    "id": "wait",
    "type": "wait_for_event",
    "config": {"event_type": PAYMENT, "correlation_id": "${{ input?.order ?? null }}"},
}


def _wait_with(**config: Any) -> dict[str, Any]:
    return {**WAIT, "config": {"event_type": PAYMENT, **config}}


def _events(world: World) -> Sequence[Event]:
    with Session(world.engine) as session:
        return session.exec(select(Event).order_by("received_at", "id")).all()


def _waits(world: World) -> Sequence[Wait]:
    with Session(world.engine) as session:
        return session.exec(select(Wait)).all()


async def _waiting(world: World, workflow_id: str, value: Any = None) -> str:
    run_id = (await world.trigger(workflow_id, value)).run_id
    await world.until_status(run_id, RunStatus.WAITING)
    await _looked_through(world)
    return run_id


async def _looked_through(world: World) -> None:
    """Wait until the kept events were looked through for every wait."""
    await world.until(
        lambda: not any(wait.fresh and wait.resolution is None for wait in _waits(world))
    )


def _duty(world: World, *, later: float = 0.0) -> tuple[Events, list[str]]:
    """Return the duty as a worker would carry it out some seconds later, and the runs that it hands on."""
    handed_on: list[str] = []
    clock = ShiftedClock(later)
    matcher = Matcher(world.engine, clock, DAY)
    return Events(world.engine, clock, matcher, handed_on.extend), handed_on


def _start_on(world: World, workflow_id: str, event_type: str, event_filter: str | None) -> None:
    with Session(world.engine) as session:
        workflow = session.exec(select(Workflow).where(Workflow.id == workflow_id)).one()
        workflow.event_type, workflow.event_filter = event_type, event_filter
        session.add(workflow)
        session.commit()


@pytest.mark.usefixtures("worker")
async def test_an_event_resumes_the_run_that_waits_for_it(world: World, publish: Publisher) -> None:
    run_id = await _waiting(world, world.workflow(WAIT), {"order": "A-1"})
    shown = world.run(run_id).waiting_for

    other = await publish("A-2")
    answer = await publish("A-1", {"amount": 42}, id="pay_1")
    run = await world.ended(run_id)

    assert shown == [
        {"step": "wait", "kind": "event", "event_type": PAYMENT, "correlation_id": "A-1"}
    ]
    assert (other.woken, answer.woken) == (0, 1)
    assert run.status is RunStatus.SUCCEEDED
    assert run.output == {
        "id": "pay_1",
        "type": PAYMENT,
        "correlation_id": "A-1",
        "payload": {"amount": 42},
        "received_at": rfc3339(_events(world)[1].received_at),
    }
    assert [event.consumed_at is None for event in _events(world)] == [True, False]
    assert _waits(world) == []


@pytest.mark.usefixtures("worker")
async def test_an_event_that_came_before_its_wait_counts_once_and_the_oldest_first(
    world: World, publish: Publisher
) -> None:
    workflow_id = world.workflow(WAIT)
    for number in (1, 2):
        await publish("A-1", number)

    first = await world.start(workflow_id, {"order": "A-1"})
    second = await world.start(workflow_id, {"order": "A-1"})
    third = await _waiting(world, workflow_id, {"order": "A-1"})

    assert [run.output["payload"] for run in (first, second)] == [1, 2]
    assert world.run(third).status is RunStatus.WAITING


@pytest.mark.usefixtures("worker")
async def test_a_wait_without_a_correlation_id_takes_any_event_of_the_type(
    world: World, publish: Publisher
) -> None:
    await publish("A-9", type_="something.else")
    run_id = await _waiting(world, world.workflow(WAIT))

    answer = await publish("A-9")
    run = await world.ended(run_id)

    assert answer.woken == 1
    assert run.output["correlation_id"] == "A-9"


@pytest.mark.usefixtures("worker")
async def test_an_event_ends_every_wait_that_it_fits(world: World, publish: Publisher) -> None:
    workflow_id = world.workflow(WAIT)
    run_ids = [await _waiting(world, workflow_id, {"order": "A-1"}) for _ in range(3)]

    answer = await publish("A-1")

    assert answer.woken == 3
    for run_id in run_ids:
        assert (await world.ended(run_id)).status is RunStatus.SUCCEEDED


@pytest.mark.usefixtures("worker")
async def test_a_filter_sees_the_event_and_what_the_step_saw(
    world: World, publish: Publisher
) -> None:
    total = {"id": "total", "type": "transform", "config": {"value": {"sum": 50, "other": 1}}}
    wait = _wait_with(filter="event.payload.amount >= steps.total.output.sum && input.open")
    run_id = await _waiting(world, world.workflow(total, wait), {"open": True, "secret": "x"})
    kept = _waits(world)[0].data["filter"]["scope"]

    answers = [await publish(None, {"amount": amount}) for amount in (49, 50)]
    run = await world.ended(run_id)

    assert kept == {"steps": {"total": {"output": {"sum": 50}}}, "input": {"open": True}}
    assert [answer.woken for answer in answers] == [0, 1]
    assert run.output["payload"] == {"amount": 50}


@pytest.mark.usefixtures("worker")
async def test_a_filter_that_cannot_be_evaluated_does_not_match_and_says_so_once(
    world: World, publish: Publisher
) -> None:
    wait = _wait_with(filter="event.payload.amount > 10")
    run_id = await _waiting(world, world.workflow(wait))

    answers = [await publish(None, payload) for payload in ({}, None, {"amount": 11})]
    run = await world.ended(run_id)

    assert [answer.woken for answer in answers] == [0, 0, 1]
    assert run.output["payload"] == {"amount": 11}
    assert [line.level for line in world.logs(run_id)] == ["warning"]
    assert "amount" in world.logs(run_id)[0].message


@pytest.mark.usefixtures("worker")
async def test_an_event_whose_time_is_over_is_forgotten(world: World, publish: Publisher) -> None:
    await publish("A-1", "old", shift=-DAY - 60)
    run_id = await _waiting(world, world.workflow(WAIT), {"order": "A-1"})
    await publish("A-2", "young", shift=-DAY + 60)
    duty, _ = _duty(world)

    counts = await asyncio.to_thread(duty.run_once)

    assert world.run(run_id).status is RunStatus.WAITING
    assert counts["expired"] <= 1  # the worker's own duty may have been faster
    assert [event.payload for event in _events(world)] == ["young"]


async def test_an_id_is_accepted_once(world: World, publish: Publisher) -> None:
    first = await publish("A-1", 1, id="pay_1")
    again = await publish("A-1", 2, id="pay_1")
    keyed = [await publish("A-1", 3, idempotency_key="pay_1") for _ in range(2)]
    at_once = await asyncio.gather(*(publish("A-1", id="pay_2") for _ in range(20)))

    assert (first.id, first.duplicate) == ("pay_1", False)
    assert (again.id, again.duplicate) == ("pay_1", True)
    assert [answer.duplicate for answer in keyed] == [False, True]
    assert keyed[0].id == keyed[1].id
    assert sum(not answer.duplicate for answer in at_once) == 1
    assert [event.payload for event in _events(world)] == [1, 3, None]


@pytest.mark.usefixtures("worker")
async def test_a_time_out_fails_the_step(world: World) -> None:
    run = await world.start(world.workflow(_wait_with(timeout_seconds=0.2)))

    assert run.status is RunStatus.FAILED
    assert run.error["code"] == "event_timed_out"
    assert "0.2 s" in run.error["message"]


@pytest.mark.usefixtures("worker")
async def test_a_time_out_can_take_a_port_instead(world: World) -> None:
    wait = _wait_with(timeout_seconds=0.2, timeout_action="port", correlation_id=7)
    late = {
        "id": "late",
        "type": "log",
        "config": {"message": "late: ${{ steps.wait.output.payload }}"},
        "depends_on": ["wait.timeout"],
    }
    in_time = {**late, "id": "in_time", "depends_on": ["wait.received"]}

    run = await world.start(world.workflow(wait, late, in_time))

    attempts = {row.path: row for row in world.attempts(run.id)}
    assert run.status is RunStatus.SUCCEEDED
    assert attempts["late"].status is AttemptStatus.SUCCEEDED
    assert attempts["in_time"].status is AttemptStatus.SKIPPED
    assert attempts["wait"].output == {
        "id": None,
        "type": PAYMENT,
        "correlation_id": "7",
        "payload": None,
        "received_at": None,
    }


@pytest.mark.usefixtures("worker")
async def test_events_of_other_owners_wake_nothing(world: World, publish: Publisher) -> None:
    stranger = new_id()
    with Session(world.engine) as session:
        owner = session.exec(select(User)).one()
        fields = owner.model_dump() | {"id": stranger, "email": "bob@example.com"}
        session.add(User(**fields))
        session.commit()
    run_id = await _waiting(world, world.workflow(WAIT), {"order": "A-1"})
    claims = replace(owner_claims(world), user_id=stranger)
    _start_on(world, world.workflow(WAIT), PAYMENT, None)

    answer = await publish.desk().submit(EventRequest(claims, PAYMENT, "A-1", id="pay_1"))
    own = await publish("A-1", id="pay_1")

    assert (answer.woken, answer.started, own.duplicate) == (0, (), False)
    assert (await world.ended(run_id)).output["id"] == "pay_1"


async def _burst(world: World, publish: Publisher, size: int) -> None:
    workflow_id = world.workflow(WAIT)
    await asyncio.gather(*(world.trigger(workflow_id, {"order": str(n)}) for n in range(size)))
    await world.until(lambda: all(run.status is RunStatus.WAITING for run in world.runs()))
    woken = size - size // 10

    answers = await asyncio.gather(*(publish(str(n), n) for n in range(woken)))
    await world.until(lambda: _statuses(world)[RunStatus.SUCCEEDED] >= woken)

    assert {answer.woken for answer in answers} == {1}
    assert _statuses(world) == {
        RunStatus.SUCCEEDED: woken,
        RunStatus.WAITING: size - woken,
    }
    ended = [run for run in world.runs() if run.status is RunStatus.SUCCEEDED]
    assert all(run.input["order"] == str(run.output["payload"]) for run in ended)


def _statuses(world: World) -> Counter[RunStatus]:
    with Session(world.engine) as session:
        return Counter(run.status for run in session.exec(select(Run)).all())


@pytest.mark.usefixtures("worker")
async def test_a_burst_of_events_wakes_exactly_its_runs(world: World, publish: Publisher) -> None:
    await _burst(world, publish, 200)


@pytest.mark.long
@pytest.mark.usefixtures("worker")
async def test_a_burst_of_a_thousand_events_wakes_exactly_its_runs(
    world: World, publish: Publisher
) -> None:
    await _burst(world, publish, 1_000)


@pytest.mark.usefixtures("worker")
async def test_no_event_is_lost_or_used_twice_when_waits_and_events_come_at_once(
    world: World, publish: Publisher
) -> None:
    workflow_id = world.workflow(WAIT)
    starting = [world.trigger(workflow_id, {"order": str(n % 5)}) for n in range(60)]
    coming = [publish(str(n % 5), n) for n in range(60)]

    await asyncio.gather(*(one for pair in zip(starting, coming, strict=True) for one in pair))
    await world.until(lambda: RunStatus.RUNNING not in _statuses(world))
    await _looked_through(world)
    # One event may end several waits; then as many are kept as runs still want: more of each make every run end.
    for n in range(5):
        await publish(str(n), "last")
    await world.until(lambda: set(_statuses(world)) == {RunStatus.SUCCEEDED})

    taken = {event.payload for event in _events(world) if event.consumed_at is not None}
    assert {run.output["payload"] for run in world.runs()} == taken


@pytest.mark.usefixtures("worker")
async def test_each_kept_event_ends_one_wait_however_many_look_for_it(
    world: World, publish: Publisher
) -> None:
    for number in range(30):
        await publish("A-1", number)
    workflow_id = world.workflow(WAIT)

    answers = await asyncio.gather(
        *(world.trigger(workflow_id, {"order": "A-1"}) for _ in range(40))
    )
    await world.until(lambda: _statuses(world)[RunStatus.SUCCEEDED] == 30)
    await _looked_through(world)

    runs = [world.run(answer.run_id) for answer in answers]
    taken = sorted(run.output["payload"] for run in runs if run.output is not None)
    assert taken == list(range(30))
    assert _statuses(world)[RunStatus.WAITING] == 10


@pytest.mark.usefixtures("worker")
async def test_a_wait_looks_through_more_kept_events_than_one_page_holds(
    world: World, publish: Publisher
) -> None:
    await asyncio.gather(*(publish(str(n), n) for n in range(230)))
    wait = _wait_with(filter="event.payload == 229")

    run = await world.start(world.workflow(wait))

    assert run.output["payload"] == 229
    assert sum(event.consumed_at is not None for event in _events(world)) == 1


async def test_what_a_dead_process_has_not_matched_is_matched_by_the_duty(
    world: World, publish: Publisher, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Matcher, "take", lambda *_: ({}, []))
    monkeypatch.setattr(Matcher, "search", lambda *_: [])
    workflow_id = world.workflow(WAIT)
    worker = WorkerProcess(world.settings)
    worker.begin()
    began = time.monotonic()
    early = await publish("A-1")
    run_ids = [
        (await world.trigger(workflow_id, {"order": order})).run_id for order in ("A-1", "A-2")
    ]
    for run_id in run_ids:
        await world.until_status(run_id, RunStatus.WAITING)
    await worker.end()
    monkeypatch.undo()
    await publish("A-3")

    taken = time.monotonic() - began
    idle, _ = _duty(world, later=1.5 - taken)  # within the grace, however slow the machine is
    nothing = await asyncio.to_thread(idle.run_once)
    duty, handed_on = _duty(world, later=5)
    counts = await asyncio.to_thread(duty.run_once)

    assert early.woken == 0
    assert nothing["runs"] == 0
    assert counts["runs"] == 1
    assert handed_on == run_ids[:1]
    await _looked_through(world)


@pytest.mark.usefixtures("worker")
async def test_an_event_starts_the_workflows_that_begin_with_it(
    world: World, publish: Publisher
) -> None:
    says = {"id": "says", "type": "log", "config": {"message": "${{ input.payload.total }}"}}
    large, small, off = (world.workflow(says) for _ in range(3))
    _start_on(world, large, "order.placed", "event.payload.total > 100")
    _start_on(world, small, "order.placed", "event.payload.total.nope > 100")
    _start_on(world, off, "order.placed", None)
    with Session(world.engine) as session:
        session.exec(select(Workflow).where(Workflow.id == off)).one().enabled = False
        session.commit()

    answers = [
        await publish("A-1", {"total": total}, type_="order.placed", id=f"order_{total}")
        for total in (100, 101, 101)
    ]
    run = await world.ended(answers[1].started[0])

    assert [len(answer.started) for answer in answers] == [0, 1, 0]
    assert [len(answer.refused) for answer in answers] == [1, 1, 0]
    assert (run.workflow_id, run.trigger_kind) == (large, TriggerKind.EVENT)
    assert run.started_by == "owner@example.com"
    assert run.input["id"] == "order_101"
    assert run.input["payload"] == {"total": 101}
    assert len(world.runs()) == 1


@pytest.mark.usefixtures("worker")
async def test_an_event_that_a_run_emits_resumes_and_starts_others(world: World) -> None:
    emit = {
        "id": "emit",
        "type": "emit_event",
        "config": {"event_type": PAYMENT, "correlation_id": 17, "payload": {"n": "${{ input.n }}"}},
    }
    waiting = await _waiting(world, world.workflow(WAIT), {"order": "17"})
    started_by = world.workflow({"id": "says", "type": "log", "config": {"message": "Hello"}})
    _start_on(world, started_by, PAYMENT, None)

    emitting = await world.start(world.workflow(emit), {"n": 3})
    waited = await world.ended(waiting)
    await world.until(lambda: len(world.runs()) == 3 and len(_ended(world)) == 3)

    event = _events(world)[0]
    started = next(run for run in world.runs() if run.workflow_id == started_by)
    assert emitting.output == {"id": event.id}
    assert waited.output["payload"] == {"n": 3}
    assert started.input == waited.output
    assert (event.depth, started.depth, started.idempotency_key) == (1, 1, f"event:{event.id}")
    assert started.started_by is None


def _ended(world: World) -> list[Run]:
    return [run for run in world.runs() if run.status is RunStatus.SUCCEEDED]


@pytest.mark.usefixtures("worker")
async def test_a_workflow_that_emits_what_starts_it_is_stopped(
    world: World, publish: Publisher
) -> None:
    emit = {"id": "emit", "type": "emit_event", "config": {"event_type": "again"}}
    _start_on(world, world.workflow(emit), "again", None)

    await publish(type_="again")
    await world.until(lambda: any(world.logs(run.id) for run in world.runs()))
    await world.until(lambda: len(_ended(world)) == len(world.runs()))

    assert sorted(run.depth for run in world.runs()) == list(range(MAX_EVENT_DEPTH + 1))
    last = max(world.runs(), key=lambda run: run.depth)
    assert "loop" in world.logs(last.id)[0].message
    assert world.logs(last.id)[0].level == "error"


@pytest.mark.usefixtures("worker")
async def test_a_workflow_whose_context_nobody_gives_is_not_started_and_the_log_says_so(
    world: World,
) -> None:
    emit = {"id": "emit", "type": "emit_event", "config": {"event_type": "told"}}
    demanding = world.workflow({"type": "log", "config": {"message": "Hello"}})
    _start_on(world, demanding, "told", None)
    with Session(world.engine) as session:
        workflow = session.exec(select(Workflow).where(Workflow.id == demanding)).one()
        workflow.context_required = {"required": ["legal_basis"], "defaults": {}}
        session.commit()

    run = await world.start(world.workflow(emit))

    line = world.logs(run.id)[0]
    assert (run.status, len(world.runs())) == (RunStatus.SUCCEEDED, 1)
    assert (line.level, line.data["code"]) == ("error", "missing_context")
    assert demanding in line.message
    assert "`legal_basis`" in line.message


async def test_an_interrupted_worker_emits_once(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    emit = {"id": "emit", "type": "emit_event", "config": {"event_type": PAYMENT}}
    nap = {"id": "nap", "type": "delay", "config": {"seconds": 0.1}}
    cut_off = _LostAnswers(monkeypatch)
    worker = WorkerProcess(world.settings)
    worker.begin()

    run = await world.start(world.workflow(emit, nap))
    await worker.end()

    assert cut_off.lost == 1
    assert run.status is RunStatus.SUCCEEDED
    assert len(_events(world)) == 1
    assert world.attempts(run.id)[0].output == {"id": _events(world)[0].id}


TELLS_AND_ASKS = """
from typing import Any
from app.engine.sdk import Context, Expr, Node, NodeConfig, Suspend, expression_field

class Config(NodeConfig):
    filter: Expr = expression_field(local=("event",), description="Which event.")

class TellsAndAsks(Node[Config, Any]):
    type = "tells_and_asks"
    isolation = "process"

    def run(self, config: Config, context: Context) -> Suspend:
        context.emit_event("told", payload={"step": context.step_path})
        data = {"event_type": "asked", "correlation_id": None, "filter": config.filter.deferred()}
        return Suspend("event", data=data)
"""


async def test_an_isolated_node_emits_and_waits_like_any_other(
    world: World, publish: Publisher, tmp_path: Path
) -> None:
    plugins = tmp_path / "plugins"
    plugins.mkdir()
    (plugins / "tells_and_asks.py").write_text(TELLS_AND_ASKS)
    worker = WorkerProcess(world.settings.model_copy(update={"plugins_dir": plugins}))
    worker.begin()
    step = {
        "id": "ask",
        "type": "tells_and_asks",
        "config": {"filter": "event.payload == input.n"},
    }

    run_id = await _waiting(world, world.workflow(step), {"n": 5})
    answers = [await publish(None, n, type_="asked") for n in (4, 5)]
    run = await world.ended(run_id)
    await worker.end()

    assert [answer.woken for answer in answers] == [0, 1]
    assert run.output["payload"] == 5
    assert [event.payload for event in _events(world) if event.type == "told"] == [{"step": "ask"}]


class _LostAnswers:
    """Lets the first commit that publishes stand, but not its answer: the checkpoint is written once more."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.lost = 0
        flush = Journal._flush

        def flush_without_answer(self_: Any, batch: Any) -> Any:
            verdicts = flush(self_, batch)
            if self.lost == 0 and any(one.brought for one in batch):
                self.lost = 1
                raise Unavailable("The answer is lost.")
            return verdicts

        monkeypatch.setattr(Journal, "_flush", flush_without_answer)
