"""What an attempt works with, wherever it runs: its context, its config, and how its answer is read."""
