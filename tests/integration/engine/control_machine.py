"""Controls, workers that live and die, waits and time, in any order, over the real SQL and the real board.

What the orchestrator, the journal and the duties do around these is played by hand: one process, no threads, a clock that
the machine moves.
"""

import shutil
import tempfile
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from sqlalchemy import event, text
from sqlmodel import Session, col, select

from app.core.config import Settings
from app.core.ids import new_id
from app.core.statuses import (
    FINAL_RUN_STATUSES,
    RUN_MOVES,
    AttemptStatus,
    Role,
    RunStatus,
    TriggerKind,
    WaitKind,
)
from app.db.base import make_engine
from app.engine import lease_store, store
from app.engine.active_run import ActiveRun, EndedWait
from app.engine.checkpoint import Brought
from app.engine.claims import Claims
from app.engine.controls.cancelling import cancel_runs
from app.engine.controls.control import Action, Control
from app.engine.controls.pausing import pause_runs
from app.engine.controls.resuming import resume_runs
from app.engine.controls.retrying import retry_runs
from app.engine.intake import NewRun, accept
from app.engine.journal import Verdict, write_fenced
from app.engine.metrics.meters import WorkerMeters
from app.engine.outputs import Outputs
from app.engine.planning.record import StepState, Waiting
from app.engine.planning.transitions import Failed, Outcome, Succeeded, Suspended, settle
from app.engine.plans import PlanCache
from app.engine.registry import load_catalogue
from app.engine.waiting import store as waiting_store
from app.engine.waiting.ending import WaitEnd, end_due_waits, end_waits, load_ended
from app.models import Run, StepAttempt, User, Wait, WorkflowVersion
from tests.integration.engine.world import World

START = datetime(2026, 11, 21, tzinfo=UTC)
FOR_EVER = timedelta(days=36_500)
CATALOGUE = load_catalogue(Path(__file__).parent / "gated_nodes")
METERS = WorkerMeters((), lambda: 0, 1)
OPEN_GATE = cast("Any", SimpleNamespace(watchful=False, of_step=lambda *_: None))
RECORD_MOVES = """
CREATE TRIGGER record_moves AFTER UPDATE OF status ON runs WHEN OLD.status <> NEW.status
BEGIN INSERT INTO moves VALUES (OLD.status, NEW.status); END
"""
MAX_ROUNDS = 60
MAX_RUNS = 4
ONGOING = frozenset(RunStatus) - FINAL_RUN_STATUSES
PAUSABLE = frozenset({RunStatus.QUEUED, RunStatus.RUNNING, RunStatus.WAITING})


def _step(name: str, *depends_on: str, **fields: Any) -> dict[str, Any]:
    plain = {"id": name, "type": "log", "config": {"message": "x"}, "depends_on": list(depends_on)}
    return {**plain, **fields}


AGAIN = {"max_attempts": 3, "initial_delay_seconds": 5}
DEFINITIONS: tuple[dict[str, Any], ...] = (
    {"steps": [_step("a", retry=AGAIN), _step("b"), _step("c", retry=AGAIN), _step("d", "a", "b")]},
    {"steps": [_step("a", retry=AGAIN), _step("mend", "a.failed"), _step("b", "a", retry=AGAIN)]},
    {"steps": [_step("a", type="gated_asking", config={"gate": "x"}), _step("b", "a")]},
    {
        "steps": [
            _step("each", type="for_each", config={"items": "[1, 2, 3]", "concurrency": 2},
                  steps=[_step("x"), _step("y", "x")]),
            _step("after", "each"),
        ],
    },
    {"steps": [_step("a"), _step("b", "a")], "timeout_seconds": 40},
)  # fmt: skip
FAILED = Failed("broken", "It broke.", again=False)
SHAKY = Failed("shaky", "It may pass.")
NEVER = Suspended(Waiting(WaitKind.EVENT), {"output": None, "port": "out"})
DONE = {"output": 1, "port": "out"}


@dataclass
class FakeClock:
    """A clock that only the machine moves."""

    time: datetime = START

    def now(self) -> datetime:
        return self.time

    def monotonic(self) -> float:
        return (self.time - START).total_seconds()


@dataclass(eq=False)
class Hold:
    """A run in a worker's hands, and its attempts in flight."""

    worker: str
    run: ActiveRun
    tasks: list[StepState] = field(default_factory=list)


class ControlMachine(RuleBasedStateMachine):
    """Whatever people, workers and time do to runs."""

    template: str

    @initialize(first=st.lists(st.integers(0, len(DEFINITIONS) - 1), min_size=1, max_size=3))
    def begin(self, first: Sequence[int]) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="automateos-controls-"))
        path = self.folder / "test.db"
        shutil.copy(self.template, path)
        self.engine = make_engine(f"sqlite:///{path}")
        event.listen(self.engine, "connect", lambda raw, _: raw.execute("PRAGMA synchronous=OFF"))
        self.clock = FakeClock()
        self.holds: list[Hold] = []
        self.zombies: list[Hold] = []
        self.epochs: dict[str, int] = {}
        outputs = Outputs(cast("Any", None), 1_000_000)
        self.claims = Claims(
            self.engine, CATALOGUE, self.clock, outputs, lambda _: None, METERS, OPEN_GATE
        )
        with self.engine.begin() as connection:
            connection.execute(text('CREATE TABLE moves ("before" text, "after" text)'))
            connection.execute(text(RECORD_MOVES))
        self.owner_id = new_id()
        with Session(self.engine) as session:
            session.add(
                User(id=self.owner_id, email="a@b.c", password_hash="", role=Role.ADMIN, created_at=START)
            )  # fmt: skip
            session.commit()
        world = World(self.engine, cast("Any", None), self.owner_id, cast("Settings", None))
        self.workflows = [world.save(definition) for definition in DEFINITIONS]
        self.worker = self._new_worker()
        for which in first:
            self.start(which)
        self.claim()

    def teardown(self) -> None:
        if hasattr(self, "engine"):
            try:
                self._reach_an_end()
            finally:
                self.engine.dispose()
                shutil.rmtree(self.folder)

    # What happens.

    @precondition(lambda self: len(self._runs()) < MAX_RUNS)
    @rule(which=st.integers(0, len(DEFINITIONS) - 1))
    def start_a_run(self, which: int) -> None:
        self.start(which)

    def start(self, which: int) -> None:
        workflow_id = self.workflows[which]
        with Session(self.engine) as session:
            of_it = select(WorkflowVersion.id).where(WorkflowVersion.workflow_id == workflow_id)
            version_id = session.exec(of_it).one()
        self.clock.time += timedelta(milliseconds=1)  # so that runs have an order that replays
        new = NewRun(self.owner_id, workflow_id, version_id, 1, TriggerKind.MANUAL, {})
        with self.engine.begin() as connection:
            accept(connection, [new], self.clock.now())

    @precondition(lambda self: self._any(RunStatus.QUEUED))
    @rule()
    def a_worker_claims(self) -> None:
        self.claim()

    def claim(self) -> None:
        for queued in [run for run in self._runs() if run.status is RunStatus.QUEUED]:
            for run in self.claims.take(self.worker, [queued.id], lambda _, begun: begun):
                self.holds.append(Hold(self.worker, run, list(run.started)))

    @precondition(lambda self: any(hold.tasks for hold in self.holds))
    @rule(data=st.data())
    def an_attempt_succeeds(self, data: st.DataObject) -> None:
        self._end_one(data, Succeeded(1, "out"))

    @precondition(lambda self: any(hold.tasks for hold in self.holds))
    @rule(data=st.data(), failed=st.sampled_from([FAILED, SHAKY]))
    def an_attempt_fails(self, data: st.DataObject, failed: Failed) -> None:
        self._end_one(data, failed)

    @precondition(lambda self: any(hold.tasks for hold in self.holds))
    @rule(data=st.data())
    def an_attempt_suspends_its_step(self, data: st.DataObject) -> None:
        self._end_one(data, NEVER)

    @precondition(lambda self: any(hold.tasks for hold in self.zombies))
    @rule(data=st.data())
    def a_zombie_writes(self, data: st.DataObject) -> None:
        hold = data.draw(st.sampled_from([hold for hold in self.zombies if hold.tasks]))
        before = self._attempts(hold.run.id)
        self._end(hold, hold.tasks.pop(), Succeeded("late", "out"))
        assert self._attempts(hold.run.id) == before, "a late write has changed something"

    @precondition(lambda self: len(self._waits()) > 0)
    @rule(data=st.data())
    def a_wait_ends(self, data: st.DataObject) -> None:
        wait = data.draw(st.sampled_from(self._waits()))
        end = WaitEnd(wait.run_id, wait.path, wait.attempt, DONE)
        with self.engine.begin() as connection:
            end_waits(connection, [end], self.clock.now())

    @rule(seconds=st.sampled_from([1, 6, 30]))
    def time_passes(self, seconds: int) -> None:
        """Let the clock go on, and the duties do their work once."""
        self.clock.time += timedelta(seconds=seconds)
        now = self.clock.now()
        with self.engine.begin() as connection:
            end_due_waits(connection, now, 100)
            store.TAKE_DUE.run(
                connection, now=now, lost_before=now, again=now + timedelta(seconds=20), batch=100
            )
        self._signals()
        for hold in list(self.holds):
            due = hold.run.seconds_to_next_wait(now)
            assert due is None or not hold.run.paused, "a paused run's worker would spin"
            if due == 0:
                self._write(hold, (), {})

    @precondition(lambda self: len(self.holds) > 0)
    @rule()
    def the_worker_crashes(self) -> None:
        with self.engine.begin() as connection:
            lease_store.DELETE_WORKER.run(connection, id=self.worker)
            lease_store.RELEASE_ORPHANS.run(connection, again=self.clock.now(), batch=100)
        self.zombies, self.holds = self.holds, []
        self.worker = self._new_worker()

    @precondition(lambda self: len(self.holds) > 0)
    @rule()
    def the_worker_stops(self) -> None:
        for hold in self.holds:
            checkpoint = hold.run.interrupted(self.clock.now(), CATALOGUE.on_lost)
            with self.engine.begin() as connection:
                write_fenced(connection, hold.worker, [checkpoint])
        self.holds = []

    @precondition(lambda self: self._any(RunStatus.RUNNING, RunStatus.WAITING))
    @rule(data=st.data())
    def somebody_pauses(self, data: st.DataObject) -> None:
        self._somebody(data, "pause", {RunStatus.RUNNING, RunStatus.WAITING})

    @precondition(lambda self: self._any(RunStatus.PAUSED))
    @rule(data=st.data())
    def somebody_resumes(self, data: st.DataObject) -> None:
        self._somebody(data, "resume", {RunStatus.PAUSED})

    @precondition(lambda self: self._any(RunStatus.FAILED))
    @rule(data=st.data())
    def somebody_retries(self, data: st.DataObject) -> None:
        self._somebody(data, "retry", {RunStatus.FAILED})

    @precondition(lambda self: len(self._runs()) > 2)
    @rule(data=st.data(), action=st.sampled_from(["pause", "resume", "cancel", "retry"]))
    def somebody_does_anything(self, data: st.DataObject, action: Action) -> None:
        self._somebody(data, action, frozenset(RunStatus))

    # What must hold.

    @invariant()
    def moves_are_legal(self) -> None:
        if not hasattr(self, "engine"):
            return
        with self.engine.connect() as connection:
            rows = connection.execute(text("SELECT DISTINCT * FROM moves")).all()
        for before, after in rows:
            assert RunStatus(after) in RUN_MOVES[RunStatus(before)], f"{before} became {after}"

    @invariant()
    def runs_hold_together(self) -> None:
        if not hasattr(self, "engine"):
            return
        waits = self._waits()
        with Session(self.engine) as session:
            live = select(StepAttempt).where(col(StepAttempt.superseded).is_(False))
            attempts = session.exec(live).all()
        for run in self._runs():
            assert run.epoch >= self.epochs.get(run.id, 0), "the epoch has fallen"
            self.epochs[run.id] = run.epoch
            mine = [wait for wait in waits if wait.run_id == run.id]
            self._check(run, mine, [row for row in attempts if row.run_id == run.id])

    def _check(self, run: Run, waits: Sequence[Wait], attempts: Sequence[StepAttempt]) -> None:
        done = [row.path for row in attempts if row.status is AttemptStatus.SUCCEEDED]
        assert len(done) == len(set(done)), "a step has succeeded twice"
        going_on = {AttemptStatus.RUNNING, AttemptStatus.WAITING}
        match run.status:
            case RunStatus.QUEUED:
                assert (run.worker_id, run.wake_at is None) == (None, False), "nobody will find it"
            case RunStatus.RUNNING:
                assert run.worker_id is not None
            case RunStatus.WAITING:
                assert run.worker_id is None
                assert not any(wait.resolution for wait in waits), "a wait has ended unheard"
                assert run.wake_at or waits, "nothing would ever wake it"
            case RunStatus.PAUSED:
                assert run.wake_at is None
            case _:
                assert (run.worker_id, run.wake_at, list(waits)) == (None, None, [])
                assert run.finished_at is not None
                assert not [row.path for row in attempts if row.status in going_on]

    # How it is done.

    def _any(self, *statuses: RunStatus) -> bool:
        return any(run.status in statuses for run in self._runs())

    def _somebody(
        self, data: st.DataObject, action: Action, statuses: Collection[RunStatus]
    ) -> None:
        run = data.draw(
            st.sampled_from([run for run in self._runs() if run.status in statuses] or self._runs())
        )
        allowed = {
            "pause": run.status in PAUSABLE,
            "resume": run.status is RunStatus.PAUSED,
            "cancel": run.status in ONGOING,
            "retry": run.status is RunStatus.FAILED and self._has_time(run),
        }
        assert self._control(action, run.id) == allowed[action]

    def _control(self, action: Action, run_id: str) -> bool:
        control = Control(action, "a@b.c", self.clock.now())
        with self.engine.begin() as connection:
            match action:
                case "pause":
                    return bool(pause_runs(connection, [run_id], control))
                case "resume":
                    return bool(resume_runs(connection, [run_id], control).run_ids)
                case "cancel":
                    return bool(cancel_runs(connection, [run_id], control))
                case "retry":
                    plans = PlanCache(CATALOGUE)
                    return bool(retry_runs(connection, {run_id: None}, plans, control).due)

    def _end_one(self, data: st.DataObject, outcome: Outcome) -> None:
        hold = data.draw(st.sampled_from([hold for hold in self.holds if hold.tasks]))
        self._end(hold, hold.tasks.pop(data.draw(st.integers(0, len(hold.tasks) - 1))), outcome)

    def _has_time(self, run: Run) -> bool:
        seconds = DEFINITIONS[self.workflows.index(run.workflow_id)].get("timeout_seconds")
        if seconds is None or run.started_at is None:
            return True
        return run.started_at + timedelta(seconds=seconds) > self.clock.now()

    def _end(self, hold: Hold, state: StepState, outcome: Outcome) -> None:
        policy = hold.run.board.step(state.path).retry
        settled = settle(state, outcome, policy, self.clock.now(), lambda: 0.0)
        suspended = outcome if isinstance(outcome, Suspended) else None
        self._write(hold, [settled], {state.path: Brought(None, suspended)})

    def _write(self, hold: Hold, settled: Sequence[StepState], brought: dict[str, Brought]) -> None:
        """Do what the orchestrator does between two waits for attempts."""
        checkpoint = hold.run.advance(settled, (), self.clock.now(), draining=False)
        checkpoint = replace(checkpoint, brought=brought)
        with self.engine.begin() as connection:
            (verdict,), _ = write_fenced(connection, hold.worker, [checkpoint])
        if verdict is Verdict.LOST or checkpoint.leave is not None:
            self._let_go(hold)
            return
        if verdict is Verdict.PAUSED:
            hold.run.pause()
        hold.tasks += hold.run.started
        if hold.run.paused and not hold.tasks:
            self._write(hold, (), {})

    def _let_go(self, hold: Hold) -> None:
        hold.tasks = []
        if hold in self.holds:
            self.holds.remove(hold)

    def _signals(self) -> None:
        rows = [{"id": hold.run.id, "epoch": hold.run.epoch} for hold in self.holds]
        with self.engine.begin() as connection:
            gone = waiting_store.FIND_GONE.run(connection, rows, worker_id=self.worker)
            signalled = waiting_store.TAKE_SIGNALS.run(connection, worker_id=self.worker)
            ended = load_ended(connection, [row.id for row in signalled]) if signalled else {}
        lost = {row.id for row in gone}
        self.holds = [hold for hold in self.holds if hold.run.id not in lost]
        for hold in list(self.holds):
            self._deliver(hold, ended.get(hold.run.id, ()))

    def _deliver(self, hold: Hold, ended: Sequence[EndedWait]) -> None:
        if ended:
            settled = hold.run.resolve(ended, self.clock.now(), lambda: 0.0)
            self._write(hold, settled, {})

    def _new_worker(self) -> str:
        worker_id, now = new_id(), self.clock.now()
        with self.engine.begin() as connection:
            lease_store.INSERT_WORKER.run(
                connection, id=worker_id, host="here", pid=1, now=now, until=now + FOR_EVER
            )
        return worker_id

    def _runs(self) -> Sequence[Run]:
        with Session(self.engine) as session:
            return session.exec(select(Run).order_by(col(Run.created_at))).all()

    def _waits(self) -> Sequence[Wait]:
        with Session(self.engine) as session:
            waits = session.exec(select(Wait)).all()
        order = {run.id: number for number, run in enumerate(self._runs())}
        return sorted(waits, key=lambda wait: (order[wait.run_id], wait.path))

    def _attempts(self, run_id: str) -> list[dict[str, Any]]:
        with Session(self.engine) as session:
            rows = session.exec(select(StepAttempt).where(StepAttempt.run_id == run_id)).all()
        return sorted(
            (row.model_dump() for row in rows), key=lambda row: (row["path"], row["attempt"])
        )

    def _reach_an_end(self) -> None:
        """Let everything go well from here on: then every run must come to its end."""
        for _ in range(MAX_ROUNDS):
            open_runs = [run for run in self._runs() if run.status not in FINAL_RUN_STATUSES]
            if not open_runs:
                return
            for run in open_runs:
                if run.status is RunStatus.PAUSED:
                    self._control("resume", run.id)
            self.claim()
            for hold in list(self.holds):
                for state in list(hold.tasks):
                    if state in hold.tasks:
                        hold.tasks.remove(state)
                        self._end(hold, state, Succeeded(1, "out"))
            self._end_all_waits()
            self.time_passes(6)
            self.runs_hold_together()
        raise AssertionError([(run.status, run.waiting_for) for run in self._runs()])

    def _end_all_waits(self) -> None:
        ends = [WaitEnd(wait.run_id, wait.path, wait.attempt, DONE) for wait in self._waits()]
        if ends:
            with self.engine.begin() as connection:
                end_waits(connection, ends, self.clock.now())


def machine(template: str) -> type[ControlMachine]:
    """Return the machine over copies of a migrated SQLite file."""
    return type("Controls", (ControlMachine,), {"template": template})
