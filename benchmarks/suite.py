"""The suite: measure the figures one after the other, print them, write the report.

    python3 main.py bench [--quick | --full] [--only NAME ...] [--out FOLDER]

The whole suite writes `results.md` and its chart into this folder; `--quick` and `--only` are for looking, and write
only where `--out` says.
"""

import argparse
import signal
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from app.core.errors import AutomateError
from benchmarks.bench import FULL, QUICK, USUAL, Bench, Extent
from benchmarks.chart import load_chart
from benchmarks.figures import (
    curve,
    fairness,
    history,
    http,
    latency,
    memory,
    runs,
    sqlite,
    start,
    triggers,
    workers,
)
from benchmarks.findings import Findings, merged
from benchmarks.machine import Neighbours, cores, describe
from benchmarks.processes import require_proc
from benchmarks.report import CHART, Circumstances, render, shown

FIGURES: dict[str, Callable[[Bench], Findings]] = {
    "start": start.measure,
    "triggers": triggers.measure,
    "runs": runs.measure,
    "http": http.measure,
    "latency": latency.measure,
    "curve": curve.measure,
    "workers": workers.measure,
    "sqlite": sqlite.measure,
    "memory": memory.measure,
    "fairness": fairness.measure,
    "history": history.measure,
}
YARDSTICKS = {
    "bare_requests": "bare uvicorn {:,.0f}/s",
    "bare_inserts": "bare inserts {:,.0f}/s",
    "bare_way_ms": "the bare way {:.2f} ms: two bare requests and three commits, one after the other",
}
HERE = Path(__file__).resolve().parent


def main(arguments: Sequence[str]) -> None:
    """Run what was asked for."""
    options = _parser().parse_args(arguments)
    extent = QUICK if options.quick else FULL if options.full else USUAL
    require_proc()
    signal.signal(
        signal.SIGTERM, lambda *_: sys.exit("Stopped.")
    )  # so that platforms are stopped too
    whole = not options.quick and not options.only
    folder = options.out or (HERE if whole else None)
    report, chart = measure(extent, options.only or list(FIGURES))
    print(f"\n{report}")
    if folder is not None:
        write(folder, report, chart)


def measure(extent: Extent, names: Sequence[str]) -> tuple[str, str]:
    """Measure the figures; returns the report and, where there is a load curve, its chart."""
    bench, neighbours = Bench(extent), Neighbours()
    found = merged([_one(bench, name) for name in names])
    known = vars(bench)  # yardsticks are there once they were needed
    yardsticks = [text.format(known[key]) for key, text in YARDSTICKS.items() if key in known]
    circumstances = Circumstances(extent.name, cores(), describe(), yardsticks, neighbours.share())
    return render(found, circumstances), load_chart(found.curve) if found.curve else ""


def write(folder: Path, report: str, chart: str) -> None:
    """Write the report, and the chart beside it."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "results.md").write_text(report)
    if chart:
        (folder / CHART).write_text(chart)
    print(f"Written to {folder / 'results.md'}")


def _one(bench: Bench, name: str) -> Findings:
    began = time.perf_counter()
    print(f"── {name} ", end="", flush=True)
    found = FIGURES[name](bench)
    print(f"({time.perf_counter() - began:.0f} s)")
    for row in found.rows:
        print(f"   {row.name}: {shown(row.value, row.unit)}", flush=True)
    return found


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="main.py bench")
    extent = parser.add_mutually_exclusive_group()
    extent.add_argument("--quick", action="store_true")
    extent.add_argument("--full", action="store_true")
    parser.add_argument("--only", action="append", choices=list(FIGURES))
    parser.add_argument("--out", type=Path)
    return parser


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except AutomateError as error:
        sys.exit(error.detail)
