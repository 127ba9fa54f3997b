"""Secrets behind guards: passwords, access tokens, webhook tokens."""
