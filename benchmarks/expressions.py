"""Print how many evaluations one core does in a second, and how long the worst expression can take; run by hand.

python -m benchmarks.expressions
"""

import time
from collections.abc import Callable, Mapping
from typing import Any

from app.engine.language.expressions import compile_expression
from tests.unit.language.expressions.hostile import BOMBS, attempt

SOURCE = 'steps.fetch.output.total > 100 && input.region in ["eu", "us"]'
ROUNDS = 5
EVALUATIONS = 200_000


def main() -> None:
    """Take the best of a few rounds, so that other work on the machine counts least."""
    expression = compile_expression(SOURCE)
    scope = {"steps": {"fetch": {"output": {"total": 250}}}, "input": {"region": "us"}}
    best = min(_seconds(expression.evaluate, scope) for _ in range(ROUNDS))
    print(f"{EVALUATIONS / best:,.0f} evaluations/s of {SOURCE}")
    seconds, worst = max((_longest(source), source) for source in BOMBS)
    print(
        f"the worst of {len(BOMBS)} hostile expressions ends after {seconds * 1000:.0f} ms: {worst[:60]}"
    )


def _longest(source: str) -> float:
    started = time.thread_time()
    attempt(source)
    return time.thread_time() - started


def _seconds(evaluate: Callable[[Mapping[str, Any]], Any], scope: Mapping[str, Any]) -> float:
    started = time.perf_counter()
    for _ in range(EVALUATIONS):
        evaluate(scope)
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
