"""Outbound HTTP: one guarded client, through which every call to a host that a user names must go."""
