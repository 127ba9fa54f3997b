"""Kill switches: what runs stops before its next step, waits as rows, and goes on by itself with no step redone."""

from collections.abc import Iterator, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text
from sqlmodel import Session, select

from app.core.clock import SystemClock
from app.core.config import Settings
from app.core.errors import KillSwitched
from app.core.ids import new_id
from app.core.statuses import AttemptStatus, RunStatus, SwitchMode, SwitchScope, TriggerKind
from app.db.migrate import downgrade, upgrade
from app.engine.controls.control import Control
from app.engine.controls.pausing import pause_runs
from app.engine.controls.resuming import resume_runs
from app.engine.delivery.process import WorkerProcess
from app.models import KillSwitch, Run
from tests.e2e.crash.harness.sink import Sink
from tests.integration.engine.gates import GATES
from tests.integration.engine.vault import keep
from tests.integration.engine.world import World

GATED_NODES = Path(__file__).parent / "gated_nodes"
LOG = {"id": "after", "type": "log", "config": {"message": "done"}}
HALT, DRAIN = SwitchMode.HALT, SwitchMode.DRAIN


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return settings.model_copy(update={"plugins_dir": GATED_NODES, "shutdown_seconds": 0})


@pytest.fixture(autouse=True)
def gates() -> Iterator[None]:
    GATES.clear()
    yield
    GATES.clear()


def gated(name: str, **step: Any) -> dict[str, Any]:
    return {"id": name, "type": "gated", "config": {"gate": name}, **step}


def taking(credential: str) -> dict[str, Any]:
    return {"id": "after", "type": "takes_credential", "config": {"credential": credential}}


SENDING: dict[str, Any] = {
    "id": "after",
    "type": "http_request_node",
    "config": {"url": "http://127.0.0.1:9/", "credential": "stripe"},
    "on_error": "continue",
}
"""Nobody listens there: what matters is when it begins."""


def put(
    world: World,
    scope: SwitchScope = SwitchScope.ALL,
    target: str | None = None,
    mode: SwitchMode = HALT,
    seconds: float | None = None,
) -> str:
    """Set a switch; returns its id."""
    now, switch_id = SystemClock().now(), new_id()
    expires_at = None if seconds is None else now + timedelta(seconds=seconds)
    with Session(world.engine) as session:
        session.add(
            KillSwitch(
                id=switch_id,
                scope=scope,
                target=target,
                mode=mode,
                reason="the CRM burns",
                created_by="op@example.com",
                created_at=now,
                expires_at=expires_at,
            )
        )
        session.commit()
    return switch_id


def lift(world: World, switch_id: str) -> None:
    with Session(world.engine) as session:
        switch = session.exec(select(KillSwitch).where(KillSwitch.id == switch_id)).one()
        switch.lifted_at = SystemClock().now()
        session.add(switch)
        session.commit()


def control(action: Any) -> Control:
    return Control(action, "owner@example.com", SystemClock().now(), "because")


async def known(worker: WorkerProcess, world: World, *switch_ids: str) -> None:
    """Wait until the worker knows of these switches, and of no others."""
    await world.until(lambda: {switch.id for switch in worker._switches.switches} == {*switch_ids})


def attempts(world: World, run_id: str) -> list[tuple[str, int, AttemptStatus]]:
    return [(row.path, row.attempt, row.status) for row in world.attempts(run_id)]


def done(*paths: str) -> list[tuple[str, int, AttemptStatus]]:
    return [(path, 1, AttemptStatus.SUCCEEDED) for path in paths]


async def held(world: World, run_id: str, switch_id: str) -> Run:
    """Wait until a run is held by a switch."""
    await world.until(lambda: world.run(run_id).held_by == switch_id)
    return world.run(run_id)


async def in_flight(world: World, *steps: dict[str, Any]) -> str:
    """Start a run of these steps; returns its id when the first one stands before its gate."""
    run_id = (await world.trigger(world.workflow(*steps))).run_id
    gate = steps[0]["config"]["gate"]
    await world.until(lambda: GATES[gate].entered == 1)
    return run_id


async def test_a_halted_run_ends_its_attempt_stops_before_the_next_step_and_goes_on_when_lifted(
    world: World, worker: WorkerProcess
) -> None:
    run_id = await in_flight(world, gated("a"), LOG)

    switch_id = put(world)
    await known(worker, world, switch_id)
    GATES["a"].opened.set()
    run = await held(world, run_id, switch_id)
    meanwhile = attempts(world, run_id)
    lift(world, switch_id)
    ended = await world.ended(run_id)

    assert (run.status, run.worker_id, run.wake_at) == (RunStatus.PAUSED, None, None)
    assert [(wait["kind"], wait["id"]) for wait in run.waiting_for] == [("kill_switch", switch_id)]
    assert run.waiting_for[0]["reason"] == "Stopped by a kill switch: the CRM burns"
    assert meanwhile == done("a")
    assert (ended.status, ended.waiting_for, ended.held_by) == (RunStatus.SUCCEEDED, None, None)
    assert attempts(world, run_id) == done("a", "after")


async def test_what_has_begun_goes_on_while_draining_and_nothing_else_begins(
    world: World, worker: WorkerProcess
) -> None:
    run_id = await in_flight(world, gated("a"), LOG)
    workflow = world.workflow(LOG)

    switch_id = put(world, mode=DRAIN)
    await known(worker, world, switch_id)
    with pytest.raises(KillSwitched, match="the CRM burns"):
        await world.trigger(workflow)
    GATES["a"].opened.set()
    ended = await world.ended(run_id)

    assert ended.status is RunStatus.SUCCEEDED
    assert [run.id for run in world.runs()] == [run_id]


@pytest.mark.parametrize("mode", SwitchMode)
async def test_a_queued_run_that_has_not_begun_waits_unbegun(
    world: World, begin: Any, mode: SwitchMode
) -> None:
    run_id = (await world.trigger(world.workflow(LOG))).run_id
    switch_id = put(world, mode=mode)

    begin()
    run = await held(world, run_id, switch_id)
    lift(world, switch_id)
    ended = await world.ended(run_id)

    assert (run.status, run.started_at, run.epoch) == (RunStatus.PAUSED, None, 0)
    assert ended.status is RunStatus.SUCCEEDED
    assert attempts(world, run_id) == done("after")


@pytest.mark.usefixtures("worker")
async def test_a_drain_lets_a_run_go_on_after_a_wait_and_a_halt_does_not(world: World) -> None:
    wait = {"id": "nap", "type": "delay", "config": {"seconds": 1}}
    run_ids = [(await world.trigger(world.workflow(wait, LOG))).run_id for _ in range(2)]
    for run_id in run_ids:
        await world.until_status(run_id, RunStatus.WAITING)
    workflow_ids = [world.run(run_id).workflow_id for run_id in run_ids]

    put(world, SwitchScope.WORKFLOW, workflow_ids[0], DRAIN)
    switch_id = put(world, SwitchScope.WORKFLOW, workflow_ids[1])
    drained = await world.ended(run_ids[0])
    await held(world, run_ids[1], switch_id)
    lift(world, switch_id)
    halted = await world.ended(run_ids[1])

    assert (drained.status, halted.status) == (RunStatus.SUCCEEDED, RunStatus.SUCCEEDED)
    assert attempts(world, run_ids[1]) == done("nap", "after")


@pytest.mark.parametrize("scope", [SwitchScope.TEAM, SwitchScope.USER, SwitchScope.WORKFLOW])
async def test_only_what_a_switch_concerns_is_held(
    world: World, worker: WorkerProcess, scope: SwitchScope
) -> None:
    run_id = await in_flight(world, gated("a"), LOG)
    theirs = world.run(run_id)
    of_others = put(world, scope, new_id())
    target = theirs.workflow_id if scope is SwitchScope.WORKFLOW else theirs.owner_id

    switch_id = put(world, scope, target)
    await known(worker, world, of_others, switch_id)
    GATES["a"].opened.set()
    await held(world, run_id, switch_id)
    lift(world, switch_id)
    ended = await world.ended(run_id)

    assert ended.status is RunStatus.SUCCEEDED


@pytest.mark.parametrize(
    ("scope", "target", "step"),
    [
        (SwitchScope.NODE_TYPE, "log", LOG),
        (SwitchScope.CREDENTIAL, "stripe", SENDING),
    ],
)
@pytest.mark.parametrize("mode", SwitchMode)
async def test_a_run_halts_at_a_step_whose_type_or_credential_is_stopped(
    world: World,
    worker: WorkerProcess,
    scope: SwitchScope,
    target: str,
    step: dict[str, Any],
    mode: SwitchMode,
) -> None:
    keep(world, "stripe", "bearer", {"token": "a secret"})
    switch_id = put(world, scope, target, mode)
    await known(worker, world, switch_id)
    run_id = await in_flight(world, gated("a"), gated("b"), step)

    GATES["a"].opened.set()
    GATES["b"].opened.set()
    await held(world, run_id, switch_id)
    meanwhile = attempts(world, run_id)
    lift(world, switch_id)
    ended = await world.ended(run_id)

    assert meanwhile == done("a", "b")
    assert ended.status is RunStatus.SUCCEEDED
    assert [row[:2] for row in attempts(world, run_id)] == [("a", 1), ("b", 1), ("after", 1)]


async def test_a_switch_ends_by_itself_when_its_time_is_up(
    world: World, worker: WorkerProcess
) -> None:
    run_id = await in_flight(world, gated("a"), LOG)

    switch_id = put(world, seconds=1.5)
    await known(worker, world, switch_id)
    GATES["a"].opened.set()
    await held(world, run_id, switch_id)
    ended = await world.ended(run_id)

    with Session(world.engine) as session:
        switch = session.exec(select(KillSwitch)).one()
    assert ended.status is RunStatus.SUCCEEDED
    assert (switch.lifted_at, switch.lifted_by) == (switch.expires_at, None)


async def test_attempts_side_by_side_end_before_the_run_is_held(
    world: World, worker: WorkerProcess
) -> None:
    first, second = gated("a", depends_on=[]), gated("b", depends_on=[])
    run_id = await in_flight(world, first, second, {**LOG, "depends_on": ["a"]})
    await world.until(lambda: GATES["b"].entered == 1)
    switch_id = put(world)
    await known(worker, world, switch_id)

    GATES["a"].opened.set()
    await world.until(lambda: ("a", 1, AttemptStatus.SUCCEEDED) in attempts(world, run_id))
    between = world.run(run_id)
    GATES["b"].opened.set()
    await held(world, run_id, switch_id)
    lift(world, switch_id)
    await world.ended(run_id)

    assert (between.status, between.held_by) == (RunStatus.RUNNING, None)
    assert attempts(world, run_id) == done("a", "b", "after")


async def test_a_run_that_a_person_has_paused_stays_paused_when_a_switch_is_lifted(
    world: World, worker: WorkerProcess
) -> None:
    run_id = await in_flight(world, gated("a"), LOG)
    other_id = (await world.trigger(world.workflow(gated("b"), LOG))).run_id
    await world.until(lambda: GATES["b"].entered == 1)
    switch_id = put(world)
    await known(worker, world, switch_id)

    with world.engine.begin() as connection:
        pause_runs(connection, [run_id], control("pause"))  # while its attempt runs
    GATES["a"].opened.set()
    GATES["b"].opened.set()
    await held(world, other_id, switch_id)
    with world.engine.begin() as connection:
        pause_runs(connection, [other_id], control("pause"))  # while it is held
    lift(world, switch_id)
    await known(worker, world)
    await world.start(world.workflow(LOG))
    stayed = [world.run(run_id), world.run(other_id)]
    with world.engine.begin() as connection:
        due = resume_runs(connection, [run_id, other_id], control("resume")).due
    for one in due:
        world.desk._dispatch.put(one)
    await world.ended(run_id)
    await world.ended(other_id)

    assert [(run.status, run.held_by) for run in stayed] == [(RunStatus.PAUSED, None)] * 2
    assert attempts(world, run_id) == done("a", "after")


async def test_a_run_that_is_resumed_under_a_switch_is_held_again(world: World, begin: Any) -> None:
    run_id = (await world.trigger(world.workflow(LOG))).run_id
    switch_id = put(world)
    begin()
    await held(world, run_id, switch_id)

    with world.engine.begin() as connection:
        due = resume_runs(connection, [run_id], control("resume")).due
    for one in due:
        world.desk._dispatch.put(one)
    await held(world, run_id, switch_id)

    assert attempts(world, run_id) == []


@pytest.mark.parametrize("credential", ["${{ 'str' + 'ipe' }}", "${{ input.credential }}"])
async def test_a_credential_that_only_the_run_knows_is_asked_for_when_it_is_opened(
    world: World, worker: WorkerProcess, credential: str
) -> None:
    switch_id = put(world, SwitchScope.CREDENTIAL, "stripe")
    await known(worker, world, switch_id)

    value = {"credential": "stripe"}
    run_id = (await world.trigger(world.workflow(taking(credential)), value)).run_id
    await held(world, run_id, switch_id)
    lift(world, switch_id)
    ended = await world.ended(run_id)

    assert (ended.status, ended.output) == (RunStatus.SUCCEEDED, "stripe")
    assert attempts(world, run_id) == [
        ("after", 1, AttemptStatus.LOST),  # it was never let begin: not even `on_lost` counts
        ("after", 2, AttemptStatus.SUCCEEDED),
    ]


@pytest.mark.parametrize(
    ("scope", "target"), [(SwitchScope.ALL, None), (SwitchScope.NODE_TYPE, "gated_call")]
)
async def test_an_attempt_in_flight_calls_nobody_any_more_and_is_made_again(
    world: World, worker: WorkerProcess, scope: SwitchScope, target: str | None
) -> None:
    with Sink() as sink:
        call = {"id": "a", "type": "gated_call", "config": {"gate": "a", "url": sink.url()}}
        run_id = await in_flight(world, call, LOG)
        switch_id = put(world, scope, target)
        await known(worker, world, switch_id)

        GATES["a"].opened.set()
        await held(world, run_id, switch_id)
        meanwhile = sink.effects.total()
        lift(world, switch_id)
        ended = await world.ended(run_id)

    assert (meanwhile, sink.effects.total()) == (0, 1)
    assert ended.status is RunStatus.SUCCEEDED
    assert attempts(world, run_id) == [
        ("a", 1, AttemptStatus.LOST),
        ("a", 2, AttemptStatus.SUCCEEDED),
        ("after", 1, AttemptStatus.SUCCEEDED),
    ]


async def test_a_parent_is_held_at_the_step_that_would_start_a_stopped_workflow(
    world: World, worker: WorkerProcess
) -> None:
    child = world.workflow(LOG)
    switch_id = put(world, SwitchScope.WORKFLOW, child, DRAIN)
    await known(worker, world, switch_id)
    call = {"id": "call", "type": "run_workflow", "config": {"workflow": child}}

    run_id = (await world.trigger(world.workflow(call))).run_id
    await held(world, run_id, switch_id)
    meanwhile = world.runs()
    lift(world, switch_id)
    ended = await world.ended(run_id)

    assert [run.id for run in meanwhile] == [run_id]
    assert ended.status is RunStatus.SUCCEEDED
    assert len(world.runs()) == 2


async def test_nothing_starts_while_nobody_knows_which_switches_are_set(
    world: World, worker: WorkerProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_id = await in_flight(world, gated("a"), gated("b"))
    monkeypatch.setattr(worker._switches, "read", worker._switches.read.__get__(_Blind()))
    monkeypatch.setattr(worker._switches, "_good_until", 0.0)

    GATES["a"].opened.set()
    await world.until(lambda: ("a", 1, AttemptStatus.SUCCEEDED) in attempts(world, run_id))
    blind = (GATES["b"].entered, worker._gate.open())
    monkeypatch.undo()
    await world.until(lambda: GATES["b"].entered == 1)
    GATES["b"].opened.set()
    ended = await world.ended(run_id)

    assert blind == (0, False)
    assert ended.status is RunStatus.SUCCEEDED


async def test_thousands_of_held_runs_go_on(world: World, worker: WorkerProcess) -> None:
    switch_id, wanted = put(world, SwitchScope.WORKFLOW, new_id()), 3_000
    await known(worker, world, switch_id)
    workflow_id = world.workflow(LOG)
    first = (await world.trigger(workflow_id)).run_id
    await world.ended(first)
    _hold_many(world, first, switch_id, wanted)

    lift(world, switch_id)
    await world.until(lambda: _count(world, "held_by IS NOT NULL") == 0)
    await world.until(lambda: _count(world, "status = 'succeeded'") == wanted + 1)

    assert _count(world, "status <> 'succeeded'") == 0


class _Blind:
    """Stands for a snapshot whose database is away."""

    def __getattr__(self, name: str) -> Any:
        raise ConnectionError(name)


def _count(world: World, condition: str) -> int:
    with world.engine.connect() as connection:
        found = connection.execute(text(f"SELECT count(*) FROM runs WHERE {condition}"))
        return int(found.scalar_one())


def _hold_many(world: World, like: str, switch_id: str, count: int) -> Sequence[str]:
    run, run_ids = world.run(like), [new_id() for _ in range(count)]
    with Session(world.engine) as session:
        session.add_all(
            Run(
                id=run_id,
                owner_id=run.owner_id,
                workflow_id=run.workflow_id,
                version_id=run.version_id,
                version=1,
                trigger_kind=run.trigger_kind,
                status=RunStatus.PAUSED,
                input={},
                created_at=run.created_at,
                held_by=switch_id,
            )
            for run_id in run_ids
        )
        session.commit()
    return run_ids


def test_the_migration_goes_down_with_held_runs_and_up_again(world: World) -> None:
    run = Run(
        id=new_id(),
        owner_id=world.owner_id,
        workflow_id=new_id(),
        version_id=new_id(),
        version=1,
        trigger_kind=TriggerKind.WEBHOOK,
        status=RunStatus.PAUSED,
        waiting_for=[{"kind": "kill_switch"}],
        held_by=put(world),
        created_at=SystemClock().now(),
    )
    run_id = run.id
    with Session(world.engine) as session:
        session.add(run)
        session.commit()

    downgrade(world.engine, "0007")
    with world.engine.connect() as connection:
        found = connection.execute(text("SELECT status, wake_at IS NULL FROM runs")).one()
    upgrade(str(world.settings.database_url))

    assert tuple(found) == ("queued", False)  # an older release knows nothing of holds
    assert (world.run(run_id).status, world.run(run_id).held_by) == (RunStatus.QUEUED, None)
