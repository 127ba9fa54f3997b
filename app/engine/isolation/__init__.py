"""Attempts in child processes: limited, killed at their timeout, and gone with all that they started.

    worker ── socket ──► guard.py ── fork, exec ──► runner.py ──► the node
    pool.py, child.py     ends all that is left      one attempt at a time

It guards against accidents (a crash, a leak, an endless loop), not against malice: a child has the worker's user.
"""
