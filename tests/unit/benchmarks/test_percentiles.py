"""Percentiles by the nearest rank."""

import pytest

from benchmarks.percentiles import percentile


@pytest.mark.parametrize(
    ("share", "expected"), [(0.0, 1), (0.5, 50), (0.99, 99), (0.991, 100), (1.0, 100)]
)
def test_a_percentile_is_a_sample_that_so_many_do_not_exceed(share: float, expected: int) -> None:
    samples = list(range(100, 0, -1))

    assert percentile(samples, share) == expected


def test_one_sample_is_every_percentile() -> None:
    assert {percentile([7.0], share) for share in (0.0, 0.5, 0.99, 1.0)} == {7.0}


def test_no_samples_have_no_percentile() -> None:
    assert percentile([], 0.5) == 0.0
