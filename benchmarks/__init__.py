"""The figures: `python3 main.py bench` runs the suite. Ratios within one run are what counts."""
