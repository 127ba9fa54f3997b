"""Which runs policies let in: asked by the intake, which every new run passes, for a batch at once.

Runs in a time are counted exactly, in the transaction that adds to them: what several processes let in beyond a cap is the
batch that each has in hand at the same moment. Runs in the queue are counted again as soon as there might be as many as
allowed, were runs accepted as fast as `FASTEST_INTAKE`; large caps, once in a cap's millionth of seconds at most.
"""

import math
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final

import orjson
from sqlalchemy import Connection

from app.core.errors import AutomateError, PolicyInputTooLarge, PolicyLimitReached
from app.core.ids import first_id_at, time_of
from app.engine.guards import policy_store as store
from app.engine.guards.policies import VIOLATION, Level, Policy, input_refusal
from app.engine.guards.policy_book import NEVER, PolicyBook, Queued, book_of
from app.engine.guards.rules import RunLimit

if TYPE_CHECKING:
    from app.engine.intake import NewRun

FASTEST_INTAKE: Final = 10_000.0
"""Runs a second that a platform accepts at most, for all we know."""
QUEUE_RETRY_SECONDS: Final = 5
MAX_OWNERS_COUNTED: Final = 10_000


@dataclass(frozen=True, slots=True)
class Refused:
    """Why a policy does not let a run be started. `retry_after_seconds` is None when waiting would not help."""

    detail: str
    retry_after_seconds: int | None = None
    code: str = VIOLATION

    @property
    def error(self) -> AutomateError:
        """Return it as what a caller is told."""
        if self.retry_after_seconds is None:
            return PolicyInputTooLarge(self.detail)
        return PolicyLimitReached(self.detail, self.retry_after_seconds)


def refusals(connection: Connection, runs: Sequence["NewRun"], now: datetime) -> dict[int, Refused]:
    """Return which of the runs must not be started, by their places, and why."""
    book = book_of(connection.engine)
    policies = book.current(connection)
    layers = [policies.of(run.owner_id, run.workflow_id).at_intake for run in runs]
    if not any(layers):
        return {}
    room = _Room(connection, book, now)
    room.count(runs, layers)
    return {
        place: refused
        for place, (run, own) in enumerate(zip(runs, layers, strict=True))
        if (refused := room.admit(run, own)) is not None
    }


Scope = tuple[str | None, str | None]
"""An owner, or a workflow."""


@dataclass(slots=True)
class _Window:
    """What was started in the time of a limit; `oldest` is when the first of it was."""

    started: int
    oldest: float


@dataclass(slots=True)
class _Room:
    """What one batch may still add."""

    connection: Connection
    book: PolicyBook
    now: datetime
    windows: dict[tuple[Scope, int], _Window] = field(default_factory=dict)
    queued: dict[str, Queued] = field(default_factory=dict)
    added: Counter[str] = field(default_factory=Counter)
    """Runs of this batch, by owner and by workflow."""

    def count(self, runs: Sequence["NewRun"], layers: Sequence[tuple[Policy, ...]]) -> None:
        """Count what is there, as far as a policy asks for it."""
        asked: dict[tuple[Scope, int], None] = {}
        owners: dict[str, None] = {}
        self.queued = {run.owner_id: self.book.queued.get(run.owner_id, NEVER) for run in runs}
        for run, own in zip(runs, layers, strict=True):
            for policy in own:
                for limit in policy.rules.max_runs:
                    asked[_scope(policy, run), limit.window_seconds] = None
                most = policy.rules.max_queued_runs
                if most is not None and self._must_count(policy, run, most):
                    owners[run.owner_id] = None
        if asked:
            self._count_started([*asked])
        if owners:
            self._count_queued([*owners])

    def admit(self, run: "NewRun", own: tuple[Policy, ...]) -> Refused | None:
        """Return why a run must not be started; None counts it."""
        if not own:
            return None
        refused = _too_large(run, own) or self._too_many(run, own) or self._queue_full(run, own)
        if refused is None:
            self.added[run.owner_id] += 1
            self.added[run.workflow_id] += 1
        return refused

    def _too_many(self, run: "NewRun", own: tuple[Policy, ...]) -> Refused | None:
        for policy in own:
            for limit in policy.rules.max_runs:
                found = self.windows[_scope(policy, run), limit.window_seconds]
                if found.started + self.added[_counted(policy, run)] >= limit.count:
                    return self._refused(policy, limit, found)
        return None

    def _refused(self, policy: Policy, limit: RunLimit, found: _Window) -> Refused:
        left = found.oldest + limit.window_seconds - self.now.timestamp()
        detail = policy.refusal(
            f"lets {limit.count:,} runs be started in {limit.window_seconds:,} seconds, and so many were"
        )
        return Refused(detail, max(1, math.ceil(left)))

    def _queue_full(self, run: "NewRun", own: tuple[Policy, ...]) -> Refused | None:
        for policy in own:
            most = policy.rules.max_queued_runs
            if most is None:
                continue
            if self._queued(policy, run) + self.added[_counted(policy, run)] >= most:
                detail = policy.refusal(f"lets {most:,} runs wait in the queue, and so many do")
                return Refused(detail, QUEUE_RETRY_SECONDS)
        return None

    def _queued(self, policy: Policy, run: "NewRun") -> int:
        _, counted = self.queued[run.owner_id]
        if policy.level is Level.WORKFLOW:
            return counted.get(run.workflow_id, 0)
        return sum(counted.values())

    def _must_count(self, policy: Policy, run: "NewRun", most: int) -> bool:
        age = time.monotonic() - self.queued[run.owner_id][0]
        room = most - self._queued(policy, run)
        return age >= max(room / FASTEST_INTAKE, most / 1_000_000)

    def _count_queued(self, owners: Sequence[str]) -> None:
        asked = time.monotonic()
        if len(self.book.queued) > MAX_OWNERS_COUNTED:
            self.book.queued = {}
        counts: dict[str, dict[str, int]] = {owner_id: {} for owner_id in owners}
        for row in store.COUNT_QUEUED.run(self.connection, [{"id": one} for one in owners]):
            counts[row.owner_id][row.workflow_id] = row.queued
        found = {owner_id: (asked, queued) for owner_id, queued in counts.items()}
        self.queued |= found
        self.book.queued.update(found)

    def _count_started(self, asked: Sequence[tuple[Scope, int]]) -> None:
        rows = [
            {
                "n": n,
                "owner_id": owner_id,
                "workflow_id": workflow_id,
                "first": first_id_at(self.now - timedelta(seconds=window)),
            }
            for n, ((owner_id, workflow_id), window) in enumerate(asked)
        ]
        for row in store.COUNT_STARTED.run(self.connection, rows):
            oldest = self.now.timestamp() if row.oldest is None else time_of(row.oldest)
            self.windows[asked[row.n]] = _Window(row.started, oldest)


def _too_large(run: "NewRun", own: tuple[Policy, ...]) -> Refused | None:
    if all(policy.rules.max_input_bytes is None for policy in own):
        return None
    detail = input_refusal(own, len(orjson.dumps(run.input)))
    return None if detail is None else Refused(detail)


def _scope(policy: Policy, run: "NewRun") -> Scope:
    if policy.level is Level.WORKFLOW:
        return None, run.workflow_id
    return run.owner_id, None


def _counted(policy: Policy, run: "NewRun") -> str:
    return run.workflow_id if policy.level is Level.WORKFLOW else run.owner_id
