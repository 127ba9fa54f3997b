"""Print what the planner costs per step, for chains and fans of several sizes; run by hand.

    python -m benchmarks.planner

A step costs one decision, the scope that its expressions see, and the outputs that led to it.
"""

import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from app.engine.language.definition import parse_definition
from app.engine.language.plan import Plan
from app.engine.planning.board import Board
from app.engine.planning.record import StepState
from app.engine.planning.transitions import Succeeded, settle
from app.engine.registry import Catalogue, load_catalogue

SIZES = (10, 100, 500)
STEPS_PER_ROUND = 5_000
ROUNDS = 7
NOW = datetime(2026, 11, 21, tzinfo=UTC)
FACTS: dict[str, Any] = {"input": {}}


def main() -> None:
    """Take the best of a few rounds, so that other work on the machine counts least."""
    catalogue = load_catalogue()
    for name, shape in (("chain", chain), ("fan", fan)):
        costs = [cost_per_step(shape(size, catalogue)) for size in SIZES]
        for size, cost in zip(SIZES, costs, strict=True):
            print(
                f"{name} of {size:3}: {cost * 1e6:6.1f} µs per step, {cost / costs[0]:.2f} of {SIZES[0]}"
            )
        rebuilding = [rebuild_per_step(shape(size, catalogue)) for size in SIZES]
        for size, cost in zip(SIZES, rebuilding, strict=True):
            print(f"{name} of {size:3}: {cost * 1e6:6.1f} µs per step to rebuild")


def chain(size: int, catalogue: Catalogue) -> Plan:
    """Return steps that run one after the other."""
    return parse_definition({"steps": [{"type": "merge"} for _ in range(size)]}, catalogue)


def fan(size: int, catalogue: Catalogue) -> Plan:
    """Return a step, those that follow it side by side, and one that joins them."""
    names = [f"s{number}" for number in range(size - 2)]
    steps = [{"id": name, "type": "merge", "depends_on": ["first"]} for name in names]
    first, last = {"id": "first", "type": "merge"}, {"type": "merge", "depends_on": names}
    return parse_definition({"steps": [first, *steps, last]}, catalogue)


def cost_per_step(plan: Plan) -> float:
    """Return the seconds that a step costs the planner."""
    runs = max(1, STEPS_PER_ROUND // len(plan.steps))
    return _best(lambda: [play(plan) for _ in range(runs)]) / runs / len(plan.steps)


def rebuild_per_step(plan: Plan) -> float:
    """Return the seconds that a recorded step costs when another worker takes the run over."""
    record = play(plan).record
    runs = max(1, STEPS_PER_ROUND // len(plan.steps))
    return (
        _best(lambda: [Board(plan, FACTS, NOW, record) for _ in range(runs)])
        / runs
        / len(plan.steps)
    )


def play(plan: Plan) -> Board:
    """Run to the end, one attempt after the other, as a worker does."""
    board = Board(plan, FACTS, NOW)
    running: list[StepState] = list(board.look((), NOW).started)
    for state in running:  # grows as steps start
        board.scope(state.path)
        board.upstream(state.path)
        policy = board.step(state.path).retry
        ended = settle(state, Succeeded({"n": 1}, "out"), policy, NOW, _no_jitter)
        running += board.look((ended,), NOW).started
    return board


def _no_jitter() -> float:
    return 0.0


def _best(work: Callable[[], object]) -> float:
    seconds = []
    for _ in range(ROUNDS):
        started = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - started)
    return min(seconds)


if __name__ == "__main__":
    main()
