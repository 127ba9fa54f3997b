"""Guardrails: what policies allow, when runs are accepted, when they are claimed, and before each of their steps."""
