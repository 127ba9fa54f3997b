"""A worker process's lease: what it may still write, and when it must stop starting things."""

import os
import socket
import threading
from datetime import timedelta

from sqlalchemy import Engine
from sqlalchemy.exc import DBAPIError

from app.core.clock import SyncedClock
from app.core.ids import new_id
from app.core.logging import get_logger
from app.engine import lease_store, store

REAP_AFTER = 0.75
"""The part of a lease for which ours must have held before we take others for dead; they try twice in half of one."""
log = get_logger(__name__)


class Lease:
    """The row that says this process is alive. Renewed by a duty; read by everything that starts work.

    `valid` is judged by the machine's monotonic clock from before the renewal was sent, so it never outlives the row.
    """

    def __init__(self, engine: Engine, clock: SyncedClock, seconds: float) -> None:
        self._engine = engine
        self._clock = clock
        self._seconds = seconds
        self._worker_id = new_id()
        self._valid_until = 0.0
        self._valid_since = 0.0
        self._lock = threading.Lock()

    @property
    def worker_id(self) -> str:
        """Return the id under which runs are held; a new one after each lost lease."""
        return self._worker_id

    def valid(self) -> bool:
        """Tell whether this process may start something new."""
        return self._clock.monotonic() < self._valid_until

    def may_reap(self) -> bool:
        """Tell whether others that live have had the time to renew: after an outage of the database, all look dead."""
        valid_for = self._clock.monotonic() - self._valid_since
        return self.valid() and valid_for >= self._seconds * REAP_AFTER

    def begin(self) -> None:
        """Register under a fresh id."""
        with self._lock:
            worker_id, asked = new_id(), self._clock.monotonic()
            with self._engine.begin() as connection:
                self._clock.sync(store.database_now(connection), asked)
                lease_store.INSERT_WORKER.run(
                    connection,
                    id=worker_id,
                    host=socket.gethostname(),
                    pid=os.getpid(),
                    now=self._clock.now(),
                    until=self._until(),
                )
            self._worker_id = worker_id
            self._extend(asked, anew=True)

    def renew(self) -> bool:
        """Push the expiry ahead. Returns False when the lease was lost: others may hold our runs by now."""
        with self._lock:
            asked = self._clock.monotonic()
            with self._engine.begin() as connection:
                self._clock.sync(store.database_now(connection), asked)
                kept = lease_store.RENEW_LEASE.run(
                    connection, id=self._worker_id, until=self._until()
                )
            if kept:
                self._extend(asked, anew=not self.valid())
            return bool(kept)

    def end(self) -> None:
        """Give the lease up, so that what is still held is taken over at once; with the database away, it runs out."""
        with self._lock:
            self._valid_until = 0.0
            try:
                with self._engine.begin() as connection:
                    lease_store.DELETE_WORKER.run(connection, id=self._worker_id)
            except DBAPIError as error:
                log.warning("lease_not_given_up", error=" ".join(str(error.orig).split()))

    def _extend(self, asked: float, *, anew: bool) -> None:
        if anew:
            self._valid_since = self._clock.monotonic()
        self._valid_until = asked + self._seconds

    def _until(self) -> object:
        return self._clock.now() + timedelta(seconds=self._seconds)
