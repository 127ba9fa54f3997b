"""Background duties: one file each, `run_once()` apart from the loop."""
