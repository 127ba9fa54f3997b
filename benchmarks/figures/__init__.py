"""The figures, one subject a file: each `measure(bench)` starts a platform of its own and returns what it found."""
