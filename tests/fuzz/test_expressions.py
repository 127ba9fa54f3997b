"""The expression language under coverage-guided fuzzing; `tests/unit/language/expressions/test_properties.py` has the oracle."""

import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SECONDS = 60
DICTIONARY = ROOT / "tests" / "fuzz" / "expressions.dict"


@pytest.mark.long
@pytest.mark.skipif(
    find_spec("atheris") is None,
    reason="atheris has no wheel for this machine: Linux on x86-64 only",
)
def test_no_text_crashes_hangs_or_eats_memory(tmp_path: Path) -> None:
    corpus = tmp_path / "corpus"
    corpus.mkdir()
    documented = re.findall(r"`([^`\n]+)`", (ROOT / "docs" / "expressions.md").read_text())
    for number, text in enumerate(documented):
        (corpus / str(number)).write_text(text)

    fuzzed = subprocess.run(
        [
            sys.executable, "-m", "tests.fuzz.expression_fuzzer", str(corpus), f"-max_total_time={SECONDS}",
            "-timeout=2", "-rss_limit_mb=512", "-max_len=512", f"-dict={DICTIONARY}", f"-artifact_prefix={tmp_path}/",
        ],
        cwd=ROOT, capture_output=True, text=True, check=False, timeout=SECONDS * 3,
    )  # fmt: skip

    assert fuzzed.returncode == 0, fuzzed.stderr[-4000:]
    assert len(documented) > 50
