"""What a process knows of the kill switches, and since when."""

from sqlalchemy import Engine

from app.core.clock import Clock
from app.db.session import reading
from app.engine.guards.store import read_switches
from app.engine.guards.switches import Switches

STALE_SECONDS = 1.0
"""What was read longer ago than this lets nothing start."""


class Snapshot:
    """The switches that were set when they were last read. Read by a duty; asked by everything that starts work.

    Its age is counted, on the machine's monotonic clock, from before the question was sent.
    """

    def __init__(self, engine: Engine, clock: Clock) -> None:
        self._engine = engine
        self._clock = clock
        self._good_until = 0.0
        self.switches: Switches = ()

    def fresh(self) -> bool:
        """Tell whether anything may start by it."""
        return self._clock.monotonic() < self._good_until

    def read(self) -> Switches:
        """Read anew; returns what is set.

        Raises:
            DBAPIError: the database does not answer.
        """
        asked = self._clock.monotonic()
        with reading(self._engine) as connection:
            self.switches = read_switches(connection)
        self._good_until = asked + STALE_SECONDS
        return self.switches
