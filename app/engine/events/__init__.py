"""Events: published once, matched with the waits of runs, kept for later ones, and starting workflows."""
