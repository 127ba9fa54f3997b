"""How far a machine goes: a simple model from the processor time of a run.

Every process runs on one core at a time, all share the cores, and what a run costs stays the same. So the rate is the
least of what the cores allow in all, what the workers allow, and what the API processes allow. Postgres and Redis are
counted in the first alone: Postgres works in many processes, Redis needs little.
"""

import math

from benchmarks.findings import Budget

MICROSECONDS = 1_000_000


def predicted(budget: Budget, cores: int, workers: int, apis: int = 1) -> float:
    """Return the runs per second that so many processes finish on so many cores."""
    costs = budget.microseconds
    limits = (
        (cores, budget.total),
        (workers, costs.get("worker", 0.0)),
        (apis, costs.get("API", 0.0)),
    )
    return min(count * MICROSECONDS / cost for count, cost in limits if cost > 0)


def processes_for(budget: Budget, cores: int) -> tuple[int, int]:
    """Return the fewest workers and API processes that use so many cores as well as any number would."""
    most = cores * MICROSECONDS / budget.total
    workers, apis = (
        max(1, math.ceil(most * budget.microseconds.get(kind, 0.0) / MICROSECONDS))
        for kind in ("worker", "API")
    )
    return workers, apis


def costs_of_a_step(
    short: Budget, long: Budget, steps: tuple[int, int]
) -> dict[str, tuple[float, float]]:
    """Return, by kind of process, the microseconds that any run costs and those of each of its steps."""
    found = {}
    for kind in short.microseconds:
        each = (long.microseconds.get(kind, 0.0) - short.microseconds[kind]) / (steps[1] - steps[0])
        found[kind] = (short.microseconds[kind] - each * steps[0], each)
    return found
