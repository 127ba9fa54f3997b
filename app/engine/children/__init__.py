"""Runs that steps of other runs have started: found, begun, awaited, and cancelled with the steps that wait for them."""
