"""Policies before each step and in the queue: what they refuse, whom they ask, what may be spent, how many run at once."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlmodel import Session, select

from app.core.clock import SystemClock
from app.core.config import Settings
from app.core.ids import new_id
from app.core.statuses import ApprovalStatus, AttemptStatus, Misfire, RunStatus
from app.db.session import reading
from app.engine.approvals import deciding
from app.engine.approvals.deciding import Wish
from app.engine.approvals.rules import Person
from app.engine.delivery.process import WorkerProcess
from app.engine.duties.schedules import Schedules
from app.engine.guards.budgets import BudgetBook, Spender
from app.engine.guards.policies import PLATFORM_TARGET, Level
from app.engine.guards.policies import Policy as GuardPolicy
from app.engine.guards.policy_book import book_of
from app.engine.guards.rules import PolicyRules
from app.engine.registry import load_catalogue
from app.models import Approval, BudgetSpend, Policy, Schedule
from tests.integration.engine.gates import GATES, Gate
from tests.integration.engine.world import World

LOG = {"id": "say", "type": "log", "config": {"message": "Hello"}}


@pytest.fixture
def settings(settings: Settings, tmp_path: Path) -> Settings:
    """Load the plug-ins of two folders."""
    here, folder = Path(__file__).parent, tmp_path / "nodes"
    folder.mkdir()
    for path in (here / "policy_nodes" / "guarded.py", here / "gated_nodes" / "gated.py"):
        (folder / path.name).write_text(path.read_text())
    return settings.model_copy(update={"plugins_dir": folder})


@pytest.fixture
def gate() -> Iterator[Gate]:
    GATES.clear()
    yield GATES["a"]
    GATES.clear()


@pytest.fixture
async def server() -> AsyncIterator[str]:
    """A server on this machine that answers 200; at /away it redirects to another name of itself."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        first = (await reader.readuntil(b"\r\n\r\n")).decode()
        away = f"HTTP/1.1 302 Found\r\nLocation: http://localhost:{port}/\r\n"
        status = away if first.startswith("GET /away") else "HTTP/1.1 200 OK\r\n"
        writer.write(f"{status}Content-Length: 0\r\nConnection: close\r\n\r\n".encode())
        await writer.drain()
        writer.close()

    listening = await asyncio.start_server(answer, "127.0.0.1", 0)
    port = listening.sockets[0].getsockname()[1]
    yield f"http://127.0.0.1:{port}"
    listening.close()
    await listening.wait_closed()


def guard(world: World, rules: Any, level: str = "platform", target: str = PLATFORM_TARGET) -> None:
    """Save a policy; it counts for this process at once."""
    stored = PolicyRules.model_validate(rules).model_dump(mode="json", exclude_defaults=True)
    with Session(world.engine) as session:
        row = session.get(Policy, (level, target)) or Policy(
            level=level, target_id=target, revision=0, rules={}, updated_at=SystemClock().now()
        )
        row.rules, row.revision = stored, row.revision + 1
        session.add(row)
        session.commit()
    with world.engine.connect() as connection:
        book_of(world.engine).refresh(connection)


async def known(worker: WorkerProcess, world: World) -> None:
    """Wait until the worker knows the newest policies."""
    wanted, book = [*book_of(world.engine).latest.all], worker._policies.book
    await world.until(lambda: [*book.latest.all] == wanted)


async def decide(world: World, worker: WorkerProcess, run_id: str, decision: ApprovalStatus) -> str:
    """Decide on what a run waits for, as an operator; returns what was asked."""
    await world.until_status(run_id, RunStatus.WAITING)
    with Session(world.engine) as session:
        query = select(Approval).where(
            Approval.run_id == run_id, Approval.status == ApprovalStatus.PENDING
        )
        approval = session.exec(query).one()
        asked = deciding.load(session.connection(), approval.id)
        assert asked is not None
        person = Person("olga@example.com", "operator", world.owner_id)
        now = SystemClock().now()
        runs = deciding.take(session.connection(), asked, person, Wish(decision), now)
        session.commit()
        prompt: str = approval.prompt
    worker._hand_on(runs)
    return prompt


def spent(world: World) -> dict[tuple[str, int], float]:
    """Return what attempts have spent, by path and number."""
    with Session(world.engine) as session:
        return {(row.path, row.attempt): row.amount for row in session.exec(select(BudgetSpend))}


async def test_a_workflow_that_was_saved_before_is_stopped_before_its_step(
    world: World, worker: WorkerProcess
) -> None:
    guard(world, {"node_types": {"denied": ["log"]}})
    await known(worker, world)

    run = await world.start(world.workflow(LOG))

    assert run.status is RunStatus.FAILED
    assert run.error["code"] == "policy_violation"
    assert run.error["message"].startswith("The platform's policy denies the node type 'log'")
    assert "administrators can change that" in run.error["message"]
    assert world.logs(run.id) == []


async def test_a_change_counts_before_the_next_step_of_a_run_in_flight(
    world: World, worker: WorkerProcess, gate: Gate
) -> None:
    hold = {"id": "hold", "type": "gated", "config": {"gate": "a"}}
    run_id = (await world.trigger(world.workflow(hold, LOG))).run_id
    await world.until(lambda: gate.entered == 1)
    guard(world, {"node_types": {"denied": ["log"]}})
    await known(worker, world)

    gate.opened.set()

    assert (await world.ended(run_id)).error["code"] == "policy_violation"


async def test_the_body_of_a_denied_loop_is_not_carried_out(
    world: World, worker: WorkerProcess
) -> None:
    guard(world, {"node_types": {"denied": ["for_each"]}})
    await known(worker, world)
    loop = {"id": "each", "type": "for_each", "config": {"items": "[1]"}, "steps": [LOG]}

    run = await world.start(world.workflow(loop))

    assert "'for_each'" in run.error["message"]


@pytest.mark.parametrize(
    "step",
    [
        {"type": "http_request_node", "config": {"url": "${{ input.url }}"}},
        {"type": "call_host", "config": {"target": "${{ input.url }}"}},
        {"type": "call_host_alone", "config": {"target": "${{ input.url }}"}},
    ],
    ids=["http", "plug-in", "isolated"],
)
async def test_a_denied_host_is_never_called_also_after_a_redirect(
    world: World, worker: WorkerProcess, server: str, step: dict[str, Any]
) -> None:
    workflow = world.workflow(step)
    guard(world, {"hosts": {"allowed": ["127.0.0.1"]}}, "workflow", workflow)
    await known(worker, world)

    fine = await world.start(workflow, {"url": f"{server}/"})
    elsewhere = await world.start(workflow, {"url": "http://localhost:1/"})
    away = await world.start(workflow, {"url": f"{server}/away"})

    assert fine.status is RunStatus.SUCCEEDED, fine.error
    for run in (elsewhere, away):
        assert run.error["code"] == "policy_violation"
        assert f"The policy of the workflow {workflow} does not allow" in run.error["message"]


async def test_a_teams_policy_holds_for_what_the_team_owns(
    world: World, worker: WorkerProcess
) -> None:
    guard(world, {"max_output_bytes": 20}, "team", world.owner_id)
    await known(worker, world)
    step = {"type": "transform", "config": {"value": "${{ input }}"}}

    small = await world.start(world.workflow(step), "short")
    large = await world.start(world.workflow(step), "x" * 30)

    assert small.status is RunStatus.SUCCEEDED
    assert large.error["code"] == "policy_violation"
    assert f"The policy of the team {world.owner_id} lets the output" in large.error["message"]


async def test_a_step_waits_for_an_operator_and_runs_once_that_is_granted(
    world: World, worker: WorkerProcess
) -> None:
    guard(world, {"needs_approval": {"node_types": ["log"], "approvers": ["role:operator"]}})
    await known(worker, world)
    run_id = (await world.trigger(world.workflow(LOG))).run_id

    prompt = await decide(world, worker, run_id, ApprovalStatus.APPROVED)
    run = await world.ended(run_id)

    assert "The platform's policy wants somebody to approve the node type 'log'" in prompt
    assert (run.status, run.output) == (RunStatus.SUCCEEDED, {"message": "Hello"})
    assert [(one.attempt, one.status) for one in world.attempts(run_id)] == [
        (1, AttemptStatus.SKIPPED),
        (2, AttemptStatus.SUCCEEDED),
    ]


async def test_what_is_rejected_does_not_run(world: World, worker: WorkerProcess) -> None:
    guard(world, {"needs_approval": {"hosts": ["localhost"]}})
    await known(worker, world)
    step = {"type": "http_request_node", "config": {"url": "http://${{ input }}:1/"}}
    run_id = (await world.trigger(world.workflow(step), "localhost")).run_id

    await decide(world, worker, run_id, ApprovalStatus.REJECTED)
    run = await world.ended(run_id)

    assert run.error["code"] == "policy_rejected"
    assert "olga@example.com" in run.error["message"]


async def test_each_policy_asks_for_itself_and_a_retry_asks_nobody_again(
    world: World, worker: WorkerProcess
) -> None:
    step = {
        **LOG,
        "config": {"message": "${{ input.missing }}"},
        "type": "http_request_node",
    }
    step["config"] = {"url": "http://127.0.0.1:1/"}
    step["retry"] = {"max_attempts": 2, "initial_delay_seconds": 0.01}
    workflow = world.workflow(step)
    guard(world, {"needs_approval": {"node_types": ["http_request_node"]}})
    guard(world, {"needs_approval": {"hosts": ["127.0.0.1"]}}, "workflow", workflow)
    await known(worker, world)
    run_id = (await world.trigger(workflow)).run_id

    first = await decide(world, worker, run_id, ApprovalStatus.APPROVED)
    await world.until(lambda: len(world.attempts(run_id)) == 2)
    second = await decide(world, worker, run_id, ApprovalStatus.APPROVED)
    run = await world.ended(run_id)

    assert "The platform's policy" in first
    assert f"The policy of the workflow {workflow}" in second
    assert run.error["code"] == "connect_failed"
    assert [one.status.value for one in world.attempts(run_id)] == [
        "skipped",
        "skipped",
        "failed",
        "failed",
    ]


async def test_a_host_that_nobody_was_asked_about_is_not_called(
    world: World, worker: WorkerProcess, server: str
) -> None:
    guard(world, {"needs_approval": {"hosts": ["127.0.0.1"]}})
    await known(worker, world)

    run = await world.start(world.workflow({"type": "call_host", "config": {"target": server}}))

    assert run.error["code"] == "policy_violation"
    assert "wants an approval for the host 127.0.0.1" in run.error["message"]


async def test_once_a_budget_is_used_up_the_next_step_that_spends_is_refused(
    world: World, worker: WorkerProcess
) -> None:
    guard(world, {"budgets": [{"name": "credits", "limit": 10, "window_seconds": 3600}]})
    await known(worker, world)
    steps = [
        {"id": "a", "type": "spend", "config": {"amount": 4}},
        {"id": "b", "type": "spend_unasked", "config": {"amount": 6}},
        {"id": "c", "type": "spend", "config": {"amount": 1}},
    ]

    run = await world.start(world.workflow(*steps))
    late = await world.start(
        world.workflow({"id": "d", "type": "spend_unasked", "config": {"amount": 2}})
    )

    assert run.error["step"] == "c"
    assert run.error["code"] == "budget_used_up"
    assert "lets 10 be spent of the budget 'credits' in 3,600 seconds" in run.error["message"]
    assert late.error["code"] == "budget_used_up"
    assert spent(world) == {("a", 1): 4, ("b", 1): 6, ("d", 1): 1}


async def test_what_a_failed_attempt_has_spent_counts_once_for_each_attempt(
    world: World, worker: WorkerProcess
) -> None:
    guard(world, {"budgets": [{"name": "credits", "limit": 100}]})
    await known(worker, world)
    retry = {"max_attempts": 2, "initial_delay_seconds": 0.01}
    step = {"id": "a", "type": "spend", "config": {"amount": 3, "fails": True}, "retry": retry}

    await world.start(world.workflow(step))

    assert spent(world) == {("a", 1): 3}


async def test_a_worker_that_dies_after_spending_counts_nothing_twice(
    world: World, begin: Callable[[], WorkerProcess], gate: Gate
) -> None:
    guard(world, {"budgets": [{"name": "credits", "limit": 5}]})
    steps = [
        {"id": "a", "type": "spend", "config": {"amount": 5}},
        {"id": "hold", "type": "gated", "config": {"gate": "a"}},
        {"id": "b", "type": "spend", "config": {"amount": 5}},
    ]
    first = begin()
    run_id = (await world.trigger(world.workflow(*steps))).run_id
    await world.until(lambda: gate.entered == 1)
    await first.end()
    begin()
    await world.until(lambda: gate.entered == 2)

    gate.opened.set()
    run = await world.ended(run_id)

    assert (run.error["step"], run.error["code"]) == ("b", "budget_used_up")
    assert spent(world) == {("a", 1): 5}


async def test_no_more_runs_than_allowed_are_held_at_once_and_the_oldest_go_first(
    world: World, begin: Callable[[], WorkerProcess], gate: Gate
) -> None:
    guard(world, {"max_concurrent_runs": 2}, "team", world.owner_id)
    workflow = world.workflow({"id": "hold", "type": "crowd", "config": {"gate": "a"}})
    run_ids = [(await world.trigger(workflow)).run_id for _ in range(6)]
    workers = [begin(), begin()]
    await world.until(lambda: gate.entered == 2)

    held = [run.id for run in world.runs() if run.status is RunStatus.RUNNING]
    gate.opened.set()
    runs = [await world.ended(run_id) for run_id in run_ids]

    assert sorted(held) == run_ids[:2]
    assert len(workers) == 2
    assert {run.status for run in runs} == {RunStatus.SUCCEEDED}
    assert sorted(runs, key=lambda run: str(run.started_at)) == runs
    assert gate.most_inside == 2


async def test_a_workflows_cap_leaves_other_workflows_alone(
    world: World, worker: WorkerProcess, gate: Gate
) -> None:
    hold = {"id": "hold", "type": "gated", "config": {"gate": "a"}}
    capped, other = world.workflow(hold), world.workflow(LOG)
    guard(world, {"max_concurrent_runs": 1}, "workflow", capped)
    await known(worker, world)
    first, second = [(await world.trigger(capped)).run_id for _ in range(2)]
    await world.until(lambda: gate.entered == 1)

    run = await world.start(other)

    assert run.status is RunStatus.SUCCEEDED
    assert world.run(second).status is RunStatus.QUEUED
    gate.opened.set()
    assert (await world.ended(first)).status is RunStatus.SUCCEEDED
    assert (await world.ended(second)).status is RunStatus.SUCCEEDED


async def test_a_schedule_that_is_refused_says_why_and_moves_on(world: World) -> None:
    workflow = world.workflow(LOG)
    guard(world, {"max_runs": [{"count": 1, "window_seconds": 600}]}, "workflow", workflow)
    await world.trigger(workflow)
    now, handed_on = SystemClock().now(), list[str]()
    with Session(world.engine) as session:
        schedule = Schedule(
            id=new_id(),
            owner_id=world.owner_id,
            workflow_id=workflow,
            cron="* * * * *",
            timezone="UTC",
            misfire=Misfire.ONCE,
            next_fire_at=now,
            created_at=now,
            updated_at=now,
        )
        session.add(schedule)
        session.commit()
        duty = Schedules(world.engine, SystemClock(), load_catalogue(None), handed_on.extend, 3600)

        done = duty.run_once()

        session.refresh(schedule)
        assert done == {"turns": 1, "runs": 0}
        assert f"The policy of the workflow {workflow} lets 1 runs" in str(schedule.last_error)
        assert schedule.next_fire_at is not None
        assert schedule.next_fire_at > now
        assert schedule.last_fire_at is None


async def test_a_child_that_is_refused_fails_the_step_that_waits_for_it(
    world: World, worker: WorkerProcess
) -> None:
    child = world.workflow(LOG)
    guard(world, {"max_runs": [{"count": 1, "window_seconds": 600}]}, "workflow", child)
    await known(worker, world)
    await world.start(child)

    waits = await world.start(
        world.workflow({"type": "run_workflow", "config": {"workflow": child}})
    )
    goes_on = await world.start(
        world.workflow({"type": "run_workflow", "config": {"workflow": child, "wait": False}})
    )

    assert waits.error["code"] == "policy_violation"
    assert f"The policy of the workflow {child} lets 1 runs" in waits.error["message"]
    assert goes_on.status is RunStatus.SUCCEEDED
    assert "The run was not started" in world.logs(goes_on.id)[0].message


def test_what_is_written_and_not_committed_yet_counts_once_all_the_while(world: World) -> None:
    rules = PolicyRules.model_validate({"budgets": [{"name": "credits", "limit": 10}]})
    policy, book = GuardPolicy(Level.PLATFORM, PLATFORM_TARGET, 1, rules), BudgetBook()
    run_id, now = new_id(), SystemClock().now()
    told = {"name": "credits", "amount": 6.0, "unit": None, "at": now.isoformat()}
    spender = Spender(run_id, "a", 1, world.owner_id, new_id())

    def left(further: float) -> bool:
        """Tell whether something is left once this is spent, too."""
        with reading(world.engine) as connection:
            book.refresh(connection, [policy], now)
        other = Spender(new_id(), "b", 1, world.owner_id, new_id())
        book.tell(other, "credits", further)
        refused = book.refusal([policy], "credits")
        book.tell(other, "credits", -further)
        return refused is None

    book.tell(spender, "credits", 6.0)
    with world.engine.begin() as connection:
        book.write(connection, [(spender, told)])
        before = left(3.9), left(4.0)
    after = left(3.9), left(4.0)

    assert before == after == (True, False)
