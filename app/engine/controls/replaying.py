"""Replay a run: make a new one with its input, and with the results of the steps before the one that it starts from."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection

from app.core.errors import InvalidInput, Problem
from app.core.statuses import FINAL_RUN_STATUSES
from app.engine import store as engine_store
from app.engine.checkpoint import CHECKPOINTS_PER_EPOCH
from app.engine.controls import store
from app.engine.controls.refusals import RunNotReplayable
from app.engine.controls.retrying import load_outlines, reopened_rows
from app.engine.intake import Accepted, NewRun, Refused, accept
from app.engine.language.plan import Edge, Plan
from app.engine.planning.record import Record, StepState
from app.engine.planning.retrying import Place, go_on_from, loops_around, place_of
from app.engine.plans import PlanCache

FIRST_EPOCH = 1
"""Of a replay that has a past: whoever claims it finds a run that was begun before."""


@dataclass(frozen=True, slots=True)
class _Kept:
    """What a replay takes over: results, and loops that go on where they stood."""

    results: Sequence[StepState] = ()
    loops: Sequence[StepState] = ()


def replay_run(
    connection: Connection,
    run_id: str,
    new: NewRun,
    from_step: str | None,
    plans: PlanCache,
    now: datetime,
) -> Accepted:
    """Make the replay of a run in the caller's transaction; returns the first one if its idempotency key was used before.

    Raises:
        InvalidInput: there is no such step to start from.
        RunNotReplayable: results that are to be kept do not fit the version, or the run is not over.
        PolicyLimitReached, PolicyInputTooLarge: a policy does not let it start.
    """
    accepted = accept(connection, [new], now)[0]
    if isinstance(accepted, Refused):
        raise accepted.error
    if accepted.duplicate:
        return accepted
    kept = _Kept() if from_step is None else _keep(connection, run_id, new, from_step, plans)
    epoch = 0 if from_step is None else FIRST_EPOCH
    store.MAKE_REPLAY.run(connection, id=accepted.run_id, replay_of=run_id, epoch=epoch)
    if kept.results:
        store.COPY_RESULTS.run(
            connection,
            [
                {
                    "run_id": accepted.run_id,
                    "replay_of": run_id,
                    "path": state.path,
                    "attempt": state.attempt,
                    "changed": epoch * CHECKPOINTS_PER_EPOCH,
                }
                for state in kept.results
            ],
        )
    if kept.loops:
        rows = reopened_rows(accepted.run_id, epoch, kept.loops)
        engine_store.UPSERT_STEPS.run(connection, rows)
    return accepted


def _keep(
    connection: Connection, run_id: str, new: NewRun, from_step: str, plans: PlanCache
) -> _Kept:
    held = store.HOLD.run(connection, [{"id": run_id}])[0]
    if held.status not in FINAL_RUN_STATUSES:
        raise RunNotReplayable(
            f"The run is {held.status}: wait until it is over, or leave out `from_step` to replay all of it."
        )
    before = _plan(connection, held.version_id, plans)
    record = load_outlines(connection, [run_id]).get(run_id, {})
    if from_step not in record:
        raise _unknown(f"No step {from_step} has started in this run.")
    anew = go_on_from(before, record, from_step, whole_loop=True)
    results = [
        state for path, state in record.items() if path not in anew.superseded and state.settled
    ]
    if new.version_id == held.version_id:
        return _Kept(results, anew.reopened)
    again = {loop.path for loop in anew.reopened}
    results = [state for state in results if again.isdisjoint(loops_around(state.path))]
    _require_fit(before, _plan(connection, new.version_id, plans), results, record, from_step)
    return _Kept(results)


def _plan(connection: Connection, version_id: str, plans: PlanCache) -> Plan:
    version = plans.load(connection, [version_id]).get(version_id)
    if version is None or not isinstance(version.plan, Plan):
        raise RunNotReplayable("The version that the run has executed cannot be read any more.")
    return version.plan


def _require_fit(
    before: Plan, latest: Plan, results: Iterable[StepState], record: Record, from_step: str
) -> None:
    """Raise when results of one version would not find their place in another one."""
    if loops_around(from_step):
        raise _unknown(
            f"{from_step} lies within a loop: from there only the same version can be replayed. Name the loop itself."
        )
    if place_of(latest, from_step) is None:
        raise _unknown(f"The latest version has no step {from_step}.")
    for state in results:
        old, new = place_of(before, state.path), place_of(latest, state.path)
        if new is None or new.step.type != record[state.path].type:
            raise RunNotReplayable(
                f"The result of step {state.path} would be kept, but the latest version has no such step of type {state.type}: "
                "replay from an earlier step, or all of it."
            )
        if old is not None and not old.level and _into(old) != _into(new):
            raise RunNotReplayable(
                f"The result of step {state.path} would be kept, but in the latest version it depends on other steps: "
                "replay from an earlier step, or all of it."
            )


def _into(place: Place) -> tuple[str, frozenset[Edge]]:
    edges = (*place.plan.edges, *place.plan.back)
    return place.step.join, frozenset(edge for edge in edges if edge.target == place.step.id)


def _unknown(detail: str) -> InvalidInput:
    return InvalidInput(detail, [Problem("/from_step", "unknown_step", detail)])
