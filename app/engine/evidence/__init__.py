"""Evidence: what a run can show for itself, kept with hashes, and exported so that anybody can check it."""
