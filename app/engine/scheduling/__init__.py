"""Workflows that start by the clock: what a cron expression means, and what becomes of a fire time."""
