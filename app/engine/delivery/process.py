"""A worker process, put together: an event loop that drives runs, an RQ worker that brings hints, and the duties."""

import asyncio
import signal
import sys
import threading
from collections.abc import Sequence

from redis import Redis
from sqlalchemy import Engine
from sqlalchemy.exc import DBAPIError

from app.core.clock import SyncedClock
from app.core.config import Settings
from app.core.errors import ConfigurationError
from app.core.logging import get_logger
from app.core.memory import spare_startup_heap
from app.core.security.encryption import key_ring
from app.db.base import make_engine
from app.engine.artifacts.address import open_artifacts
from app.engine.audit.anchors import anchor_file
from app.engine.audit.appending import audit_key_of, keep_audit
from app.engine.children.ending import ChildEndings
from app.engine.children.targets import Targets
from app.engine.claims import Claims
from app.engine.credentials.vault import Vault
from app.engine.delivery.dispatch import Dispatcher, connect_redis
from app.engine.delivery.following_up import FollowUpThread
from app.engine.delivery.rq_worker import HintConsumer
from app.engine.delivery.taking import Taker
from app.engine.duties.accounts import Accounts
from app.engine.duties.approvals import ApprovalTimeouts
from app.engine.duties.audit_anchors import AuditAnchors
from app.engine.duties.children import Children
from app.engine.duties.events import Events
from app.engine.duties.held_runs import HeldRuns
from app.engine.duties.hook_calls import HookCalls
from app.engine.duties.hooks import Hooks
from app.engine.duties.idempotency import Idempotency
from app.engine.duties.lookout import Lookout
from app.engine.duties.loop import Duty, DutyLoop
from app.engine.duties.reaper import Reaper
from app.engine.duties.renew_lease import RenewLease
from app.engine.duties.schedules import Schedules
from app.engine.duties.signals import Signals
from app.engine.duties.sweep import Sweep
from app.engine.duties.timers import Timers
from app.engine.duties.watch_policies import WatchPolicies
from app.engine.duties.watch_switches import WatchSwitches
from app.engine.egress.client import build_client
from app.engine.egress.policy import build_policy
from app.engine.events.matcher import Matcher
from app.engine.followups import Followups
from app.engine.guards.attempt import asks_before_calls
from app.engine.guards.gate import Gate
from app.engine.guards.snapshot import Snapshot
from app.engine.hooks.calling import Call, call_all
from app.engine.isolation.pool import ChildPool
from app.engine.journal import Journal
from app.engine.lease import Lease
from app.engine.metrics.meters import WorkerMeters
from app.engine.metrics.worker import WorkerMetrics
from app.engine.orchestrator import Orchestrator
from app.engine.outputs import Outputs
from app.engine.registry import load_catalogue
from app.engine.slots import Slots
from app.engine.watchdog import LoopWatchdog
from app.engine.workshop import Workshop

SWITCH_SECONDS = 0.001
"""How long a thread may keep the interpreter while others want it: the default of 5 ms would be felt in every commit."""
REAPS_PER_LEASE = 3
POOL_SIZE = 8
log = get_logger(__name__)


class WorkerProcess:
    """Everything that `python worker.py` runs. Build it on the event loop of the main thread."""

    def __init__(self, settings: Settings) -> None:
        if settings.database_url is None or settings.redis_url is None:
            raise ConfigurationError(
                "DATABASE_URL and REDIS_URL must be set for a worker; `python3 main.py` starts servers of its own."
            )
        self._settings = settings
        self._loop, self._stopping = asyncio.get_running_loop(), threading.Event()
        self._clock = SyncedClock()
        self._engine: Engine = make_engine(settings.database_url, pool_size=POOL_SIZE)
        keep_audit(self._engine, audit_key_of(settings))
        self._redis: Redis = connect_redis(settings.redis_url)
        self._dispatcher = Dispatcher(self._redis, self._engine)
        self._matcher = Matcher(self._engine, self._clock, settings.event_ttl_seconds)
        self._lease = Lease(self._engine, self._clock, settings.lease_seconds)
        self._catalogue = load_catalogue(settings.plugins_dir)
        self._meters = WorkerMeters(
            self._catalogue.names(), lambda: self._orchestrator.in_flight, settings.runs_per_worker
        )
        self._metrics = WorkerMetrics(settings, self._meters)
        self._journal = Journal(
            self._engine, lambda: self._lease.worker_id, self._follow_up, self._meters
        )
        self._switches, self._gate = self._make_gate()
        self._policies = WatchPolicies(self._engine, self._clock, self._hand_on)
        self._http = build_client(
            build_policy(settings.egress_allow), ask=asks_before_calls(self._gate)
        )
        self._vault = Vault(self._engine, key_ring(settings), self._http, self._clock)
        self._children = ChildPool(settings)
        self._artifacts = open_artifacts(settings)
        self._endings = ChildEndings(self._engine, self._clock, self._artifacts, self._hand_on)
        self._followers = FollowUpThread(
            self._endings, self._matcher, self._policies.call_next, self._hand_on
        )
        self._slots = Slots(settings.runs_per_worker)
        self._orchestrator = Orchestrator(self._make_workshop(), self._loop)
        self._taker = Taker(
            self._orchestrator.advance,
            self._slots,
            self._dispatcher.put_back,
            self._clock,
            self._stopping,
        )
        # Blocking reads of the queue wait longer than the time-out that suits writes.
        self._hints = HintConsumer(
            connect_redis(settings.redis_url, timeout_seconds=None), self._redis, self._taker
        )
        self._watchdog = LoopWatchdog(self._loop, settings.stall_seconds)
        self._renewing = self._make_renewing(settings.lease_seconds)
        self._finding = self._make_finding()

    def _make_gate(self) -> tuple[Snapshot, Gate]:
        switches = Snapshot(self._engine, self._clock)
        return switches, Gate(switches, self._clock)

    def _make_workshop(self) -> Workshop:
        outputs = Outputs(self._artifacts, self._settings.max_output_bytes)
        return Workshop(
            catalogue=self._catalogue,
            claims=Claims(
                self._engine,
                self._catalogue,
                self._clock,
                outputs,
                self._follow_up,
                self._meters,
                self._gate,
                self._catalogue.fleeting(self._children.isolates),
            ),
            journal=self._journal,
            lease=self._lease,
            slots=self._slots,
            http=self._http,
            children=self._children,
            outputs=outputs,
            clock=self._clock,
            max_output_bytes=self._settings.max_output_bytes,
            targets=Targets(self._engine),
            gate=self._gate,
            policies=self._policies.book,
            vault=self._vault,
        )

    async def run(self) -> None:
        """Work until TERM or INT, then give everything back in order."""
        sys.setswitchinterval(SWITCH_SECONDS)
        spare_startup_heap()
        stop = asyncio.Event()
        for name in (signal.SIGTERM, signal.SIGINT):
            self._loop.add_signal_handler(name, stop.set)
        self.begin()
        log.info(
            "worker_started", worker_id=self._lease.worker_id, runs=self._settings.runs_per_worker
        )
        await stop.wait()
        await self.end()

    def begin(self) -> None:
        """Register, and start to take runs.

        Raises:
            ConfigurationError: the database does not answer, or is not migrated.
        """
        try:
            self._lease.begin()
            self._switches.read()
            self._policies.run_once()
        except DBAPIError as error:
            reason = " ".join(str(error.orig).split())
            raise ConfigurationError(
                f"The worker cannot register in the database ({reason}): is it migrated?"
            ) from None
        self._watchdog.start()
        self._metrics.begin()
        for duty in (*self._renewing, *self._finding):
            duty.start()
        self._hints.start()

    async def end(self) -> None:
        """Stop taking runs, give back those in flight, and disconnect."""
        log.info("worker_stopping", runs=self._orchestrator.in_flight)
        # What is given back must find another worker: first, nothing here takes or sweeps runs any more.
        self._stopping.set()
        self._hints.request_stop()
        self._orchestrator.stop_claiming()
        await asyncio.gather(
            asyncio.to_thread(self._hints.join),
            *(asyncio.to_thread(duty.stop) for duty in self._finding),
        )
        await self._orchestrator.drain(self._settings.shutdown_seconds)
        await self._children.close()
        await self._vault.close()
        for duty in self._renewing:
            await asyncio.to_thread(duty.stop)
        await asyncio.to_thread(self._watchdog.stop)
        await self._journal.close()
        await self._metrics.end()
        await asyncio.to_thread(self._followers.stop)
        await self._http.aclose()
        self._artifacts.close()
        await asyncio.to_thread(self._lease.end)
        self._engine.dispose()
        log.info("worker_stopped")

    def _make_renewing(self, lease_seconds: float) -> list[DutyLoop]:
        """Return the loops of the duties without which nothing may start."""
        on_loop = self._loop.call_soon_threadsafe
        duties = (
            RenewLease(self._lease, lease_seconds, lambda: on_loop(self._orchestrator.drop_all)),
            WatchSwitches(self._switches),
        )
        return [DutyLoop(duty, self._meters.duty_done) for duty in duties]

    def _make_finding(self) -> list[DutyLoop]:
        """Return the loops of all duties that may find runs to be started or to go on."""
        done = self._meters.duty_done
        called = [DutyLoop(duty, done, on_call=True) for duty in self._make_called()]
        lookout = Lookout(self._engine, self._clock, {loop.name: loop for loop in called})
        regular = (lookout, *self._make_regular(self._settings.lease_seconds))
        return [*called, DutyLoop(self._policies, done), *(DutyLoop(it, done) for it in regular)]

    def _make_called(self) -> tuple[Duty, ...]:
        """Return the duties that are called when the database has work for them."""
        ttl = self._settings.idempotency_key_ttl_seconds
        return (
            Timers(self._engine, self._clock, self._hand_on),
            ApprovalTimeouts(self._engine, self._clock, self._hand_on),
            Schedules(self._engine, self._clock, self._catalogue, self._hand_on, ttl),
            Events(self._engine, self._clock, self._matcher, self._hand_on),
            Sweep(self._engine, self._clock, self._hand_on, self._dispatcher.backlog),
            Children(self._engine, self._clock, self._endings, self._meters.cancelled),
            Hooks(self._engine, self._clock, self._hand_on),
            HookCalls(self._engine, self._clock, self._call_urls, self._gate),
            HeldRuns(self._engine, self._clock, self._hand_on),
        )

    def _make_regular(self, lease_seconds: float) -> tuple[Duty, ...]:
        """Return the duties that have a round at each interval."""
        on_loop = self._loop.call_soon_threadsafe
        return (
            Idempotency(self._engine, self._clock),
            AuditAnchors(self._engine, anchor_file(self._settings), self._catalogue.plugin_hashes),
            Accounts(self._engine, self._clock),
            Signals(
                self._engine,
                self._lease,
                self._orchestrator.held,
                lambda told: on_loop(self._orchestrator.deliver, told),
                lambda told: on_loop(self._orchestrator.drop, told),
            ),
            Reaper(
                self._engine,
                self._clock,
                self._hand_on,
                self._orchestrator.release_strays,
                self._lease.may_reap,
                lease_seconds / REAPS_PER_LEASE,
            ),
        )

    def _follow_up(self, followups: Followups) -> None:
        self._followers.begin(followups)

    def _call_urls(self, calls: Sequence[Call]) -> Sequence[str | None]:
        """Make calls on the event loop, where the guarded client lives, and wait for them."""
        return asyncio.run_coroutine_threadsafe(call_all(self._http, calls), self._loop).result()

    def _hand_on(self, run_ids: Sequence[str]) -> None:
        """Dispatch runs that a duty found; without Redis, take them ourselves (the queue is only the shorter way)."""
        runs = self._dispatcher.sort(run_ids)
        if not self._dispatcher.put(runs):
            self._taker.take_now(runs)
