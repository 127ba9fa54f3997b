"""The model of how far a machine goes."""

import pytest

from benchmarks.findings import Budget
from benchmarks.model import costs_of_a_step, predicted, processes_for
from benchmarks.sustained import Moment, budget_between

BUDGET = Budget("3 steps", 1, 1_000, {"API": 200.0, "worker": 500.0, "Postgres": 300.0})


def test_one_worker_on_many_cores_is_the_limit_by_itself() -> None:
    assert predicted(BUDGET, cores=16, workers=1) == pytest.approx(2_000)


def test_many_workers_on_few_cores_share_the_cores() -> None:
    assert predicted(BUDGET, cores=1, workers=4) == pytest.approx(1_000)


def test_one_api_process_ends_the_growth_of_workers() -> None:
    assert predicted(BUDGET, cores=64, workers=32) == pytest.approx(5_000)
    assert predicted(BUDGET, cores=64, workers=32, apis=4) == pytest.approx(20_000)


def test_processes_suffice_for_all_cores_and_none_is_idle() -> None:
    for cores in (1, 2, 4, 8, 16, 32):
        workers, apis = processes_for(BUDGET, cores)

        assert predicted(BUDGET, cores, workers, apis) == pytest.approx(cores * 1_000)
        assert workers == 1 or predicted(BUDGET, cores, workers - 1, apis) < cores * 1_000
        assert apis == 1 or predicted(BUDGET, cores, workers, apis - 1) < cores * 1_000


def test_what_a_step_costs_is_the_slope_between_two_lengths() -> None:
    longer = Budget("10 steps", 1, 400, {"API": 200.0, "worker": 1_200.0, "Postgres": 650.0})

    costs = costs_of_a_step(BUDGET, longer, (3, 10))

    assert costs["API"] == pytest.approx((200, 0))
    assert costs["worker"] == pytest.approx((200, 100))
    assert costs["Postgres"] == pytest.approx((150, 50))


def test_a_budget_is_what_was_spent_between_two_moments() -> None:
    before = Moment(10.0, 500, {"API": 1.0, "worker": 2.0})
    after = Moment(12.0, 2_500, {"API": 1.5, "worker": 3.0, "Redis": 0.1})

    budget = budget_between("3 steps", 1, before, after)

    assert budget.runs_per_second == 1_000
    assert budget.microseconds == pytest.approx({"API": 250, "worker": 500, "Redis": 50})
    assert budget.total == pytest.approx(800)
