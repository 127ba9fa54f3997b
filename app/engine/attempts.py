"""Carries out one attempt of a run, in the worker's workshop."""

import random
from collections.abc import Sequence
from datetime import datetime
from functools import partial
from typing import Any, NamedTuple

from app.engine.active_run import ActiveRun, EndedWait
from app.engine.artifacts.store import Artifact
from app.engine.attempt.context import AttemptContext, Command, LogLine
from app.engine.checkpoint import Brought, Checkpoint, CredentialUsed
from app.engine.egress.run_depth import calling_at
from app.engine.executor import Attempt, run_attempt, run_attempt_at_once
from app.engine.guards.attempt import AttemptGuard, guarding
from app.engine.guards.budgets import Spender
from app.engine.guards.steps import StepRules
from app.engine.outputs import MAX_INLINE_BYTES
from app.engine.planning.record import StepState
from app.engine.planning.retrying import loops_around
from app.engine.planning.transitions import (
    Failed,
    OnLost,
    Outcome,
    Succeeded,
    Suspended,
    Withheld,
    settle,
)
from app.engine.registry import NodeType
from app.engine.workshop import Workshop


class Ended(NamedTuple):
    """What came of an attempt; `artifact` is where a large output lies."""

    outcome: Outcome | Withheld
    lines: Sequence[LogLine] = ()
    artifact: Artifact | None = None
    input: Any = None
    commands: Sequence[Command] = ()
    uses: Sequence[CredentialUsed] = ()

    @property
    def brought(self) -> Brought:
        """Return what goes with the outcome into the checkpoint."""
        suspended = self.outcome if isinstance(self.outcome, Suspended) else None
        return Brought(self.input, suspended, self.commands, self.uses)

    def within_limit(self, run: ActiveRun) -> "Ended":
        """Count the output towards what the run may hold in memory; beyond that, the attempt has failed."""
        outcome = run.within_limit(self.outcome)
        if outcome is self.outcome:
            return self
        return Ended(outcome, self.lines, input=self.input, uses=self.uses)


def is_short(shop: Workshop, run: ActiveRun, state: StepState) -> bool:
    """Tell whether an attempt ends before anything else can happen, so that it needs no task of its own."""
    step = run.board.step(state.path)
    node = shop.catalogue.get(step.type)
    if node is None or step.secrets is not None:
        return False
    return node.awaits_nothing and not shop.children.isolates(node)


async def carry_out(shop: Workshop, run: ActiveRun, state: StepState) -> Ended:
    """Make one attempt at a step, and keep what is large of what came of it."""
    attempt = _prepared(shop, run, state)
    if attempt is None:
        message = f"This worker has no node type {run.board.step(state.path).type!r}."
        return Ended(Failed("unknown_node_type", message, again=False))
    context = attempt.context
    with guarding(shop.gate, run.facts, state.type) as guard, calling_at(run.facts.depth):
        outcome = await run_attempt(attempt)
    _tell_spent(shop, attempt)
    withheld = _held(guard, outcome, shop.catalogue.on_lost(state.type))
    if withheld is not None:
        return Ended(withheld, context.lines, input=context.input)
    outcome, artifact = await shop.outputs.keep(outcome)
    outcome, commands = await shop.outputs.keep_evidence(outcome, context.commands)
    return Ended(outcome, context.lines, artifact, context.input, commands, _uses(context))


def _uses(context: AttemptContext) -> Sequence[CredentialUsed]:
    secrets = context.secrets
    if secrets is None:
        return ()
    return [
        CredentialUsed(secrets.ids[name], name, host and context.hide(host))
        for name, host in secrets.used()
    ]


def carry_out_at_once(shop: Workshop, run: ActiveRun, state: StepState) -> Ended | None:
    """Make one attempt at a step outside of the event loop; None when it needs that after all, with nothing done."""
    attempt = _prepared(shop, run, state)
    if attempt is None:
        return None
    context = attempt.context
    with guarding(shop.gate, run.facts, state.type) as guard:
        outcome = run_attempt_at_once(attempt)
    if outcome is None:
        return None
    _tell_spent(shop, attempt)
    withheld = _held(guard, outcome, "retry")
    if withheld is not None:
        return Ended(withheld, context.lines, input=context.input)
    if isinstance(outcome, Succeeded) and outcome.output_bytes > MAX_INLINE_BYTES:
        return None
    return Ended(outcome, context.lines, None, context.input, context.commands)


def settle_attempts(
    run: ActiveRun,
    ended: Sequence[tuple[StepState, Ended]],
    waits: Sequence[EndedWait],
    now: datetime,
    *,
    draining: bool,
) -> Checkpoint:
    """Let a run take over what came of its attempts, and of its waits; returns what to commit."""
    ended = [(state, came.within_limit(run)) for state, came in ended]
    for _, came in ended:
        if isinstance(came.outcome, Withheld):
            run.hold(came.outcome.held)
    settled = [
        settle(state, came.outcome, run.board.step(state.path).retry, now, random.random)
        for state, came in ended
    ]
    settled += run.resolve(waits, now, random.random)
    lines = [(state, came.lines) for state, came in ended if came.lines]
    brought = {state.path: came.brought for state, came in ended}
    return run.advance(settled, lines, now, draining=draining, brought=brought)


def _held(guard: AttemptGuard, outcome: Outcome, on_lost: OnLost) -> Withheld | None:
    """Return that an attempt was held, if it failed for that and making it again does no harm."""
    if guard.held is None or not isinstance(outcome, Failed):
        return None
    return Withheld(guard.held) if guard.calls == 0 or on_lost == "retry" else None


def _prepared(shop: Workshop, run: ActiveRun, state: StepState) -> Attempt | None:
    """Return what an attempt needs; None when this worker does not have the node type."""
    step = run.board.step(state.path)
    node = shop.catalogue.get(step.type)
    if node is None:
        return None
    rules = _rules(shop, run, state, node)
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
        used_up=None if rules is None else rules.used_up,
        vault=None if step.secrets is None else shop.vault.of(run.facts.owner_id),
        scrubber=run.scrubber,
    )
    return Attempt(
        step=step,
        node=node,
        scope=run.board.scope(state.path),
        context=context,
        children=shop.children,
        deadline=run.board.deadline,
        max_output_bytes=shop.max_output_bytes,
        rules=rules,
    )


def _rules(shop: Workshop, run: ActiveRun, state: StepState, node: NodeType) -> StepRules | None:
    """Return what policies say of an attempt; None when they say nothing."""
    facts = run.facts
    policies = shop.policies.latest.of(facts.owner_id, facts.workflow_id).at_steps
    if not policies:
        return None
    around = [run.board.step(loop).type for loop in loops_around(state.path)]
    spender = Spender(run.id, state.path, state.attempt, facts.owner_id, facts.workflow_id)
    return StepRules(
        policies,
        (*around, state.type),
        node.node.spends,
        state.granted,
        spender,
        shop.policies.budgets,
    )


def _tell_spent(shop: Workshop, attempt: Attempt) -> None:
    """Let the next steps of this process know what was spent, before it is written."""
    if attempt.rules is not None:
        for command in attempt.context.commands:
            if command.kind == "spend":
                spent = command.data
                shop.policies.budgets.tell(attempt.rules.spender, spent["name"], spent["amount"])
