"""From `python3 main.py` to ready, when everything has been installed and migrated before."""

from app.bootstrap import RUNTIME, is_current
from benchmarks.bench import Bench
from benchmarks.findings import Findings, Row, at_most
from benchmarks.platform import ROOT, own_folder, seconds_to_ready

TIMES = 3


def measure(bench: Bench) -> Findings:
    """Start once for the schema, then take the median of a few starts."""
    del bench
    installed = is_current(ROOT / ".venv", ROOT / RUNTIME)
    command = ("main.py",) if installed else ("-m", "app.cli")
    with own_folder() as folder:
        first = seconds_to_ready(folder, command)
        later = sorted(seconds_to_ready(folder, command) for _ in range(TIMES))
    note = f"`{' '.join(command)}`; the first start, with initdb and migrations, took {first:.1f} s"
    return Findings(
        [Row("start to ready, second start", later[TIMES // 2], "s", at_most(2), note=note)]
    )
