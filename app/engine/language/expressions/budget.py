"""What one evaluation may spend, and what it sees: the frame that is handed through the tree of closures.

Work outside of loops is bounded by the size of the source, so it is not counted; each turn of a loop and each
function over data is. The clock is read every `STEPS_PER_CLOCK_CHECK` steps.
"""

import time
from collections.abc import Mapping
from typing import Any

from app.engine.language.expressions.faults import LimitExceeded

MAX_STEPS = 100_000
MAX_BYTES = 4_000_000
MAX_SECONDS = 0.25
STEPS_PER_CLOCK_CHECK = 256
BYTES_PER_STEP_SHIFT = 10
BYTES_PER_WIDE_CHARACTER = 4
BYTES_PER_REFERENCE = 8
RESULT_BYTES_PER_CLOCK_CHECK = 16_384

monotonic = time.monotonic


class Budget:
    """Counts steps, bytes and time down; the figures are class attributes so that making one costs next to nothing."""

    steps: int = MAX_STEPS
    bytes: int = MAX_BYTES
    result_bytes: int = MAX_BYTES
    deadline: float = 0.0
    next_clock_check: int = MAX_STEPS - STEPS_PER_CLOCK_CHECK
    next_result_check: int = MAX_BYTES - RESULT_BYTES_PER_CLOCK_CHECK

    def spend(self, steps: int) -> None:
        """Count steps.

        Raises:
            LimitExceeded: when steps or time are used up.
        """
        self.steps -= steps
        if self.steps < self.next_clock_check:
            self._check()

    def scan(self, text: str) -> None:
        """Count the work of one pass over a text."""
        self.spend(1 + (len(text) >> BYTES_PER_STEP_SHIFT))

    def allocate(self, size: int) -> None:
        """Count bytes that are about to be made, and the work of making them.

        Raises:
            LimitExceeded: when bytes, steps or time are used up.
        """
        self.bytes -= size
        if self.bytes < 0:
            raise LimitExceeded(
                f"The expression makes more than {MAX_BYTES:,} bytes: work on less data at once."
            )
        self.spend(1 + (size >> BYTES_PER_STEP_SHIFT))

    def emit(self, size: int) -> None:
        """Count bytes of the result, as JSON: what is small in memory because it is shared is not small when written.

        Raises:
            LimitExceeded: when the result grows too large or time is used up.
        """
        self.result_bytes -= size
        if self.result_bytes < self.next_result_check:
            if self.result_bytes < 0:
                raise LimitExceeded(
                    f"The result has more than {MAX_BYTES:,} bytes: select what the step needs of it."
                )
            self._check_clock()
            self.next_result_check = self.result_bytes - RESULT_BYTES_PER_CLOCK_CHECK

    def allocate_text(self, text: str, times: int = 1) -> None:
        """Count the bytes of a text."""
        self.allocate(text_bytes(text) * times)

    def allocate_list(self, items: int) -> None:
        """Count the bytes of a list of references."""
        self.allocate(BYTES_PER_REFERENCE * items)

    def _check(self) -> None:
        if self.steps < 0:
            raise LimitExceeded(
                f"The expression takes more than {MAX_STEPS:,} steps: filter the data earlier, or use a for_each step."
            )
        self._check_clock()
        self.next_clock_check = self.steps - STEPS_PER_CLOCK_CHECK

    def _check_clock(self) -> None:
        now = monotonic()
        if not self.deadline:
            self.deadline = now + MAX_SECONDS
        if now > self.deadline:
            raise LimitExceeded(
                f"The expression takes longer than {MAX_SECONDS * 1000:.0f} ms: work on less data at once."
            )


class Frame(Budget):
    """One evaluation: the scope, the values of the variables that macros bind, and the budget."""

    variables: list[Any]

    def __init__(self, scope: Mapping[str, Any]) -> None:
        self.scope = scope


def text_bytes(text: str) -> int:
    """Return about how many bytes a text takes, without walking it."""
    return len(text) if text.isascii() else len(text) * BYTES_PER_WIDE_CHARACTER
