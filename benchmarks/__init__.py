"""Figures, run by hand: `python -m benchmarks.throughput`. Ratios within one run are what counts."""
