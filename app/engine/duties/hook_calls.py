"""Duty: call the URLs that are due, and write down what came of it."""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Engine, Row

from app.core.clock import Clock
from app.engine.guards.gate import Gate
from app.engine.guards.hosts import host_of
from app.engine.guards.policies import host_refusal
from app.engine.guards.policy_book import Policies, book_of
from app.engine.hooks import store
from app.engine.hooks.calling import TOTAL_SECONDS, Call, settled
from app.engine.hooks.report import report_of

BATCH = 50
TRY_SECONDS = 6 * TOTAL_SECONDS
"""A try that has told nothing for so long is made again: its worker has died."""
POSTPONE = timedelta(seconds=10)
"""How long calls are put off, again and again, while a kill switch lets none out."""


class HookCalls:
    """Makes due calls side by side; each try is one worker's."""

    name = "hook_calls"
    interval_seconds = 0.5

    def __init__(
        self,
        engine: Engine,
        clock: Clock,
        call_all: Callable[[Sequence[Call]], Sequence[str | None]],
        gate: Gate | None = None,
    ) -> None:
        self._engine = engine
        self._clock = clock
        self._call_all = call_all
        self._gate = gate

    def run_once(self) -> Mapping[str, int]:
        """Try what is due once; returns the numbers of calls that were answered, and that were not."""
        calls = (
            self._take()
            if self._gate is None or self._gate.of_call(None, "") is None
            else self._postpone()
        )
        if not calls:
            return {"answered": 0, "unanswered": 0}
        errors = self._call_all(calls)
        now = self._clock.now()
        rows = [settled(call, error, now) for call, error in zip(calls, errors, strict=True)]
        with self._engine.begin() as connection:
            store.HOLD_CALLS.run(connection, [{"run_id": call.run_id} for call in calls])
            store.SETTLE_CALLS.run(connection, rows)
        unanswered = sum(error is not None for error in errors)
        return {"answered": len(calls) - unanswered, "unanswered": unanswered}

    def _postpone(self) -> Sequence[Call]:
        """Take none, and try none in vain: each call has a limited number of tries."""
        now = self._clock.now()
        with self._engine.begin() as connection:
            store.POSTPONE_CALLS.run(connection, now=now, again=now + POSTPONE)
        return ()

    def _take(self) -> Sequence[Call]:
        now = self._clock.now()
        again = now + timedelta(seconds=TRY_SECONDS)
        with self._engine.begin() as connection:
            due = store.TAKE_CALLS.run(connection, now=now, again=again, batch=BATCH)
            rows = [{"id": run_id} for run_id in {call.run_id for call in due}]
            ended = store.LOAD_ENDED.run(connection, rows) if rows else ()
            policies = book_of(self._engine).current(connection)
            held = {row.id for row in ended if self._is_held(row)}
            self._put_back(connection, [call for call in due if call.run_id in held], now)
        runs = {row.id: row for row in ended}
        return [_call(row, runs.get(row.run_id), policies) for row in due if row.run_id not in held]

    def _is_held(self, run: Row[Any]) -> bool:
        """Tell whether a kill switch halts the runs of its owner or workflow."""
        gate = self._gate
        return (
            gate is not None and gate.of_run(run.owner_id, run.workflow_id, begun=True) is not None
        )

    def _put_back(self, connection: Connection, calls: Sequence[Row[Any]], now: datetime) -> None:
        """Put off what a kill switch of the run's owner or workflow does not let out."""
        if calls:
            rows = [{"run_id": call.run_id, "url": call.url, "tries": call.tries} for call in calls]
            store.PUT_BACK_CALLS.run(connection, rows, again=now + POSTPONE)


def _call(due: Row[Any], run: Row[Any] | None, policies: Policies) -> Call:
    """Return a try; of a run that is not over, there is nothing to tell."""
    if run is None:
        return Call(due.run_id, due.url, due.tries, due.next_try_at, None)
    rules = policies.of(run.owner_id, run.workflow_id).at_steps
    return Call(
        due.run_id,
        due.url,
        due.tries,
        due.next_try_at,
        report_of(run),
        host_refusal(rules, host_of(due.url) or ""),
        run.depth,
        run.epoch,
    )
