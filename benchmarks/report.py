"""The report: Markdown tables of everything that was found."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from benchmarks.findings import Budget, Findings, Row, Target
from benchmarks.model import costs_of_a_step, predicted, processes_for

CHART = "load.svg"
SIZES = (2, 4, 8, 16, 32)
LENGTHS = (3, 10)
MODELLED = "3 steps"


@dataclass(frozen=True)
class Circumstances:
    """Under what the figures came about."""

    extent: str
    cores: int
    facts: dict[str, str]
    yardsticks: Sequence[str] = ()
    neighbours: float = 0.0


def render(found: Findings, circumstances: Circumstances) -> str:
    """Return the whole report."""
    sections = [
        _head(circumstances),
        _section("Figures", figures_table(found.rows)),
        _section("Load curve", _curve(found)) if found.curve else "",
        _section("Processor time of a run", budgets_table(found.budgets)) if found.budgets else "",
        _section("A run and its steps", _steps(found)),
        _section("The model against the measurements", _checks(found, circumstances.cores)),
        _section("Sizing", _sizes(found, circumstances.cores)),
    ]
    return "\n".join(section for section in sections if section)


def figures_table(rows: Sequence[Row]) -> str:
    """Return the figures beside their targets."""
    cells = (
        (row.name, shown(row.value, row.unit), _target(row), _met(row), _ratios(row), row.note)
        for row in rows
    )
    return table(("figure", "measured", "to reach", "", "ratio in this run", "how"), cells)


def budgets_table(budgets: Sequence[Budget]) -> str:
    """Return where the processor time goes, in microseconds for a run."""
    kinds = sorted({kind for budget in budgets for kind in budget.microseconds})
    cells = (
        (
            budget.workload,
            str(budget.workers),
            f"{budget.runs_per_second:,.0f}",
            *(f"{budget.microseconds.get(kind, 0.0):,.0f}" for kind in kinds),
            f"{budget.total:,.0f}",
        )
        for budget in budgets
    )
    return table(
        ("workload", "workers", "runs/s", *(f"{kind} µs" for kind in kinds), "all µs"), cells
    )


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(
        "| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines
    )


def shown(value: float, unit: str) -> str:
    """Return a value as people read it: three digits, or all of a large one."""
    digits = f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
    return f"{digits} {unit}".replace(" /s", "/s")


def _head(circumstances: Circumstances) -> str:
    lines = ["# Benchmark results", "", f"Written by `python3 main.py bench`, extent `{circumstances.extent}`. Load generator, sink, API, worker, Postgres and Redis share the machine.", ""]  # fmt: skip
    lines += [f"- {name}: {fact}" for name, fact in circumstances.facts.items()]
    lines += [f"- yardstick: {yardstick}" for yardstick in circumstances.yardsticks]
    lines.append(
        f"- other work on the machine took {circumstances.neighbours:.0%} of its processor time meanwhile"
    )
    return "\n".join(lines) + "\n"


def _section(title: str, body: str) -> str:
    return f"## {title}\n\n{body}\n" if body else ""


def _target(row: Row) -> str:
    return "" if row.target is None else _bound(row.target, row.unit)


def _bound(target: Target, unit: str) -> str:
    return f"{'≥' if target.bound == 'at_least' else '≤'} {shown(target.value, unit)}"


def _met(row: Row) -> str:
    if row.target is None:
        return ""
    return "yes" if row.target.is_met_by(row.value) else "**no**"


def _ratios(row: Row) -> str:
    return ", ".join(f"{value:.3f} of {name}" for name, value in row.ratios)


def _curve(found: Findings) -> str:
    cells = (
        (f"{p.offered:,.0f}", f"{p.accepted:,.0f}", f"{p.p50:g}", f"{p.p99:g}") for p in found.curve
    )
    head = ("offered/s", "accepted/s", "p50 ms", "p99 ms")
    return f"![accepted rate and p99 latency over offered load]({CHART})\n\n{table(head, cells)}"


def _steps(found: Findings) -> str:
    """Split the processor time of a run into what any run costs and what each step adds."""
    short, long = (_budget(found, f"{steps} steps") for steps in LENGTHS)
    if short is None or long is None:
        return ""
    costs = costs_of_a_step(short, long, LENGTHS)
    cells = [(kind, f"{run:,.0f}", f"{step:,.0f}") for kind, (run, step) in costs.items()]
    total = [sum(part) for part in zip(*costs.values(), strict=True)]
    cells.append(("all", f"{total[0]:,.0f}", f"{total[1]:,.0f}"))
    return table(("", "any run µs", "each step µs"), cells)


def _checks(found: Findings, cores: int) -> str:
    """Compare the model, fed with the costs at one worker, with every number of workers that was measured."""
    base = _budget(found, MODELLED)
    scaled = _scaled(found, base) if base else []
    if base is None or len(scaled) < 2:
        return ""
    cells = []
    for budget in scaled:
        model = predicted(base, cores, budget.workers)
        deviation = f"{model / budget.runs_per_second - 1:+.0%}"
        cells.append(
            (str(budget.workers), f"{budget.runs_per_second:,.0f}", f"{model:,.0f}", deviation)
        )
    return table(("workers", "measured/s", "model/s", "model off by"), cells)


def _sizes(found: Findings, cores: int) -> str:
    """Tell the model's rates for machines of several sizes, and what to plan with: as much less as it was found too high."""
    base = _budget(found, MODELLED)
    if base is None:
        return ""
    part = min((_part_of_model(base, budget, cores) for budget in _scaled(found, base)), default=1)
    cells = []
    for size in SIZES:
        workers, apis = processes_for(base, size)
        rate = predicted(base, size, workers, apis)
        cells.append((str(size), str(workers), str(apis), f"{rate:,.0f}", f"{rate * part:,.0f}"))
    rates = f"{base.workload} runs/s, by the model"
    head = ("cores", "workers", "API processes", rates, f"to plan with: {part:.0%} of it")
    return table(head, cells)


def _scaled(found: Findings, base: Budget) -> list[Budget]:
    """Return the measurements of a workload on all numbers of workers."""
    return [budget for budget in found.budgets if budget.workload == base.workload]


def _part_of_model(base: Budget, budget: Budget, cores: int) -> float:
    return min(1.0, budget.runs_per_second / predicted(base, cores, budget.workers))


def _budget(found: Findings, workload: str) -> Budget | None:
    """Return the costs of a workload with one worker; the first measurement is the longest."""
    same = (one for one in found.budgets if one.workload == workload and one.workers == 1)
    return next(same, None)
