"""Filters that could not be evaluated: told in the log of the run that waits, once for each wait."""

from datetime import datetime

from sqlalchemy import Connection

from app.engine import store
from app.engine.attempt.context import MAX_LOG_LINES, cut
from app.engine.events.matching import FilterFault, WaitKey

LINE_OF_THE_ENGINE = MAX_LOG_LINES
"""Stands behind every line that a node itself can have written."""


class FilterFaults:
    """Collects the first fault of each wait."""

    def __init__(self) -> None:
        self._found: dict[WaitKey, FilterFault] = {}

    def add(self, fault: FilterFault) -> None:
        """Take in a fault."""
        self._found.setdefault(fault.wait.key, fault)

    def write(self, connection: Connection, now: datetime) -> None:
        """Add a line to the log of each run, unless the wait has one already."""
        if not self._found:
            return
        # In one order everywhere: two transactions that add the same lines must not wait for each other.
        rows = [
            {
                **fault.wait.key_row,
                "line": LINE_OF_THE_ENGINE,
                "level": "warning",
                "message": cut(
                    f"`filter` could not be evaluated on event {fault.event.id}, so it does not match: {fault.message}"
                ),
                "data": None,
                "at": now,
            }
            for _, fault in sorted(self._found.items())
        ]
        store.INSERT_LOGS.run(connection, rows)
