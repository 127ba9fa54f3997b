"""Percentiles of samples, by the nearest rank."""

import math
from collections.abc import Sequence


def percentile(samples: Sequence[float], share: float) -> float:
    """Return the smallest sample that at least this share (0 to 1) of all do not exceed; 0 when there are none."""
    if not samples:
        return 0.0
    rank = max(1, math.ceil(share * len(samples)))
    return sorted(samples)[rank - 1]
