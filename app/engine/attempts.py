"""Carries out one attempt of a run, in the worker's workshop."""

from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

from app.engine.active_run import ActiveRun
from app.engine.artifacts.store import Artifact
from app.engine.attempt.context import AttemptContext, Command, LogLine
from app.engine.checkpoint import Brought
from app.engine.executor import Attempt, run_attempt
from app.engine.planning.record import StepState
from app.engine.planning.transitions import Failed, Outcome, Suspended
from app.engine.workshop import Workshop


class Ended(NamedTuple):
    """What came of an attempt; `artifact` is where a large output lies."""

    outcome: Outcome
    lines: Sequence[LogLine] = ()
    artifact: Artifact | None = None
    input: Any = None
    commands: Sequence[Command] = ()

    @property
    def brought(self) -> Brought:
        """Return what goes with the outcome into the checkpoint."""
        suspended = self.outcome if isinstance(self.outcome, Suspended) else None
        return Brought(self.input, suspended, self.commands)

    def within_limit(self, run: ActiveRun) -> "Ended":
        """Count the output towards what the run may hold in memory; beyond that, the attempt has failed."""
        outcome = run.within_limit(self.outcome)
        return self if outcome is self.outcome else Ended(outcome, self.lines, input=self.input)


def is_short(shop: Workshop, run: ActiveRun, state: StepState) -> bool:
    """Tell whether an attempt ends before anything else can happen, so that it needs no task of its own."""
    node = shop.catalogue.get(run.board.step(state.path).type)
    return node is not None and node.awaits_nothing and not shop.children.isolates(node)


async def carry_out(shop: Workshop, run: ActiveRun, state: StepState) -> Ended:
    """Make one attempt at a step, and keep what is large of what came of it."""
    step = run.board.step(state.path)
    node = shop.catalogue.get(step.type)
    if node is None:
        message = f"This worker has no node type {step.type!r}."
        return Ended(Failed("unknown_node_type", message, again=False))
    context = AttemptContext(
        run_id=run.id,
        step_path=state.path,
        attempt=state.attempt,
        http=shop.http,
        clock=shop.clock,
        upstream=run.board.upstream(state.path),
        timeout_seconds=step.given_timeout_seconds,
        find_target=partial(shop.targets.find, run.id, run.facts),
        ports_in_use=run.board.ports_in_use(state.path),
    )
    attempt = Attempt(
        step=step,
        node=node,
        scope=run.board.scope(state.path),
        context=context,
        children=shop.children,
        deadline=run.board.deadline,
        max_output_bytes=shop.max_output_bytes,
    )
    outcome, artifact = await shop.outputs.keep(await run_attempt(attempt))
    outcome, commands = await shop.outputs.keep_evidence(outcome, context.commands)
    return Ended(outcome, context.lines, artifact, context.input, commands)
