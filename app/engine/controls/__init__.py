"""What people, and the engine itself, do to runs from outside: each a compare-and-set on the run's row."""
