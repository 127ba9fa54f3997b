"""The audit log: entries that are chained by hashes, their check, and anchors outside the database."""
