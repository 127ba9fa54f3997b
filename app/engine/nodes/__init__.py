"""Node types: one file each, discovered by the registry."""
