"""What counts of policies that ask for more than may be counted: nothing becomes laxer that can be helped."""

from typing import Any

import pytest

from app.core.ids import new_id
from app.engine.guards.budgets import BudgetBook
from app.engine.guards.caps import policy_of, rules_of
from app.engine.guards.policies import Level

DAY = 86_400
BELOW = [Level.TEAM, Level.WORKFLOW]


def _windows(*limits: tuple[int, int]) -> list[dict[str, int]]:
    return [{"count": count, "window_seconds": seconds} for count, seconds in limits]


def _counted(level: Level, **rules: Any) -> Any:
    return rules_of(level, rules).model_dump()


@pytest.mark.parametrize("level", BELOW)
def test_a_window_that_is_too_long_has_its_share_of_the_runs(level: Level) -> None:
    saved = _windows((10_000, 310 * DAY), (3, 366 * DAY), (7, 31 * DAY), (7, 60))

    counted = _counted(level, max_runs=saved)["max_runs"]

    assert counted == _windows((1_000, 31 * DAY), (1, 31 * DAY), (7, 31 * DAY), (7, 60))


@pytest.mark.parametrize("level", BELOW)
def test_of_too_many_windows_the_strictest_count(level: Level) -> None:
    saved = _windows((10, 1), (20, 60), (1, DAY), (30, 60), (100, DAY), (9, 60), (40, 60))

    counted = _counted(level, max_runs=saved)["max_runs"]

    assert counted == _windows((1, DAY), (100, DAY), (9, 60), (20, 60), (30, 60))


@pytest.mark.parametrize("level", BELOW)
def test_of_budgets_that_are_too_many_nothing_may_be_spent(level: Level) -> None:
    saved = [{"name": f"b{number}", "limit": 5} for number in range(12)]

    counted = _counted(level, budgets=saved)["budgets"]

    assert [one["limit"] for one in counted] == [5] * 10 + [0] * 2
    assert [one["name"] for one in counted] == [one["name"] for one in saved]
    policy = policy_of(level, new_id(), 1, {"budgets": saved})
    assert BudgetBook().refusal([policy], "b9") is None
    assert "and that is used up" in (BudgetBook().refusal([policy], "b10") or "")


@pytest.mark.parametrize(
    ("level", "rules"),
    [
        (
            Level.PLATFORM,
            {
                "max_runs": _windows(*[(1, 366 * DAY)] * 20),
                "budgets": [{"name": f"b{number}", "limit": 1.0} for number in range(50)],
            },
        ),
        (
            Level.WORKFLOW,
            {
                "max_runs": _windows(*[(1, 31 * DAY)] * 5),
                "budgets": [{"name": f"b{number}", "limit": 1.0} for number in range(10)],
                "max_input_bytes": 9,
            },
        ),
    ],
)
def test_what_may_be_counted_counts_as_it_was_saved(level: Level, rules: dict[str, Any]) -> None:
    assert rules_of(level, rules).model_dump(exclude_unset=True) == rules_of(
        Level.PLATFORM, rules
    ).model_dump(exclude_unset=True)
