"""Connections, sessions, and group commit."""
