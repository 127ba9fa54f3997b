"""Duty: read the policies and what is spent of budgets, so often that a change counts here within a second.

It also calls runs that wait under a cap on concurrent runs, should whoever has made room for them have died.
"""

from collections.abc import Callable, Mapping, Sequence

from sqlalchemy import Engine
from sqlalchemy.exc import DBAPIError

from app.core.clock import Clock
from app.core.logging import get_logger
from app.db.session import reading
from app.engine.guards.concurrency import Scope, next_in_line, queued_scopes
from app.engine.guards.policy_book import book_of

CALL_EVERY = 4
"""Rounds."""
log = get_logger(__name__)


class WatchPolicies:
    """Keeps the book of policies of one process."""

    name = "watch_policies"
    interval_seconds = 0.4

    def __init__(
        self, engine: Engine, clock: Clock, hand_on: Callable[[Sequence[str]], None]
    ) -> None:
        self._engine = engine
        self._clock = clock
        self.book = book_of(engine)
        self._hand_on = hand_on
        self._round = 0

    def run_once(self) -> Mapping[str, int]:
        """Read once; returns how many runs were called."""
        self._round += 1
        with reading(self._engine) as connection:
            self.book.refresh(connection)
            policies = self.book.latest
            self.book.budgets.refresh(connection, policies.all, self._clock.now())
            if not policies.caps_concurrency or self._round % CALL_EVERY:
                return {"called": 0}
            run_ids = next_in_line(connection, policies, queued_scopes(connection))
        if run_ids:
            self._hand_on(run_ids)
        return {"called": len(run_ids)}

    def call_next(self, scopes: Sequence[Scope]) -> None:
        """Hand on runs that wait for the places which runs of these owners and workflows have just left."""
        try:
            with reading(self._engine) as connection:
                run_ids = next_in_line(connection, self.book.latest, scopes)
        except DBAPIError as error:  # the next round finds them
            log.warning("runs_not_called", reason=" ".join(str(error.orig).split()))
            return
        if run_ids:
            self._hand_on(run_ids)
