"""The steps that a run begins with, if they are over at once: they go into the commit that claims it, and cost none of their own.

Only our own pure nodes come in question. They run beside the event loop, in a transaction that others may wait for; so
there is a limit to the time that a claim spends on them, and what is left begins as usual. A claim of many runs leaves
all to the journal, whose batches are larger: then nobody waits for one commit, and what counts is their number.
"""

from dataclasses import replace

from app.core.logging import get_logger
from app.engine.active_run import FIRST_EPOCH, ActiveRun
from app.engine.attempts import Ended, carry_out_at_once, settle_attempts
from app.engine.checkpoint import Checkpoint
from app.engine.planning.record import StepState
from app.engine.workshop import Workshop

FEW_RUNS = 8
"""A claim of more is no sign of somebody who waits (measured: a twelfth of the latency, or 3 % of the throughput)."""
BUDGET_SECONDS = 0.02
"""Of one claim."""
log = get_logger(__name__)


class FirstSteps:
    """Carries out first steps for one claim of so many runs."""

    def __init__(self, shop: Workshop, runs: int) -> None:
        self._shop = shop
        self._few = runs <= FEW_RUNS
        self._until = shop.clock.monotonic() + BUDGET_SECONDS

    def add(self, run: ActiveRun, begun: Checkpoint) -> Checkpoint:
        """Return the first checkpoint of a run with what came of its first steps, or as it is when they begin later."""
        if begun.leave is not None or not self._may_run(run):
            return begun
        try:
            ended = self._ended(run)
        except Exception:
            log.exception("first_steps_not_run", run_id=run.id)
            return begun
        if not ended:
            return begun
        now = self._shop.clock.now()
        return _together(begun, settle_attempts(run, ended, (), now, draining=False))

    def _may_run(self, run: ActiveRun) -> bool:
        if (
            not self._few
            or not self._shop.gate.open()
            or run.epoch != FIRST_EPOCH
            or self._shop.clock.monotonic() >= self._until
        ):
            return False
        return all(
            state.type in run.fleeting and self._shop.catalogue.is_built_in(state.type)
            for state in run.started
        )

    def _ended(self, run: ActiveRun) -> list[tuple[StepState, Ended]]:
        """Return what came of all the steps that are to start; nothing when one of them needs the event loop."""
        ended = []
        for state in run.started:
            came = carry_out_at_once(self._shop, run, state)
            if came is None:
                return []
            ended.append((state, came))
        return ended


def _together(begun: Checkpoint, settled: Checkpoint) -> Checkpoint:
    """Return one checkpoint for two: of each attempt, the later state."""
    states = {(state.path, state.attempt): state for state in (*begun.states, *settled.states)}
    return replace(settled, states=tuple(states.values()))
