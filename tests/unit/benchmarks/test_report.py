"""What the report says of given findings."""

from benchmarks.findings import Budget, Findings, Point, Row, at_least, at_most, merged
from benchmarks.report import Circumstances, figures_table, render, shown, table

BUDGET = Budget("3 steps", 1, 1_000, {"API": 300.0, "worker": 600.0, "Postgres": 100.0})
CIRCUMSTANCES = Circumstances(
    "quick", 2, {"machine": "two cores"}, ["bare uvicorn 9,000/s"], neighbours=0.25
)


def test_a_rate_meets_its_target_from_below_to_above() -> None:
    assert at_least(100).is_met_by(100)
    assert not at_least(100).is_met_by(99.9)


def test_a_time_meets_its_target_up_to_it() -> None:
    assert at_most(8).is_met_by(8)
    assert not at_most(8).is_met_by(8.1)


def test_a_figure_stands_beside_its_target_and_its_ratio() -> None:
    row = Row(
        "accepted", 2_612.4, "/s", at_least(2_500), (("bare uvicorn", 0.31),), "64 connections"
    )

    line = figures_table([row]).splitlines()[-1]

    assert (
        line == "| accepted | 2,612/s | ≥ 2,500/s | yes | 0.310 of bare uvicorn | 64 connections |"
    )


def test_a_missed_target_is_marked() -> None:
    assert "**no**" in figures_table([Row("p99", 90, "ms", at_most(80))])


def test_a_figure_without_a_target_claims_nothing() -> None:
    line = figures_table([Row("p50", 4.25, "ms")]).splitlines()[-1]

    assert line == "| p50 | 4.25 ms |  |  |  |  |"


def test_bars_in_cells_do_not_break_a_table() -> None:
    assert table(("a",), [("x|y",)]).splitlines()[-1] == "| x\\|y |"


def test_values_have_three_digits_or_all_of_a_large_number() -> None:
    assert [shown(value, "ms") for value in (0.01234, 7.0, 99.96, 123456.7)] == [
        "0.0123 ms",
        "7 ms",
        "100 ms",
        "123,457 ms",
    ]


def test_the_report_tells_circumstances_figures_curve_costs_and_sizes() -> None:
    found = Findings([Row("accepted", 1, "/s")], [Point(500, 499, 1.5, 9.0)], [BUDGET])

    report = render(found, CIRCUMSTANCES)

    assert "- machine: two cores" in report
    assert "- yardstick: bare uvicorn 9,000/s" in report
    assert "took 25% of its processor time" in report
    assert "| 500 | 499 | 1.5 | 9 |" in report
    assert "| 3 steps | 1 | 1,000 | 300 | 100 | 600 | 1,000 |" in report
    assert "## Sizing" in report


def test_the_costs_of_a_step_are_told_apart_from_those_of_a_run() -> None:
    longer = Budget("10 steps", 1, 400, {"API": 300.0, "worker": 1_300.0, "Postgres": 450.0})

    report = render(Findings(budgets=[BUDGET, longer]), CIRCUMSTANCES)

    assert "| worker | 300 | 100 |" in report
    assert "| all | 550 | 150 |" in report


def test_the_model_is_held_against_every_number_of_workers() -> None:
    two = Budget("3 steps", 2, 1_600, BUDGET.microseconds)

    report = render(Findings(budgets=[BUDGET, two]), CIRCUMSTANCES)

    assert "| 1 | 1,000 | 1,667 | +67% |" in report
    assert "| 2 | 1,600 | 2,000 | +25% |" in report


def test_sizes_are_planned_with_the_worst_part_of_the_model_that_was_measured() -> None:
    two = Budget("3 steps", 2, 1_600, BUDGET.microseconds)

    report = render(Findings(budgets=[BUDGET, two]), CIRCUMSTANCES)

    assert "to plan with: 60% of it" in report
    assert "| 4 | 3 | 2 | 4,000 | 2,400 |" in report


def test_what_was_not_measured_has_no_section() -> None:
    report = render(Findings([Row("accepted", 1, "/s")]), CIRCUMSTANCES)

    assert "curve" not in report
    assert "Sizing" not in report
    assert "model" not in report


def test_findings_are_merged_in_their_order() -> None:
    parts = [Findings([Row(name, 1, "/s")]) for name in ("first", "second")]

    assert [row.name for row in merged(parts).rows] == ["first", "second"]
