"""Duty: learn what others have done to the runs that this worker holds: waits that ended, runs that were cancelled."""

from collections.abc import Callable, Mapping, Sequence

from sqlalchemy import Engine

from app.engine.active_run import EndedWait
from app.engine.lease import Lease
from app.engine.waiting import store
from app.engine.waiting.ending import load_ended


class Signals:
    """Looks at the rows of the runs in flight, twice a second: prompt enough, and nothing can be lost on the way."""

    name = "signals"
    interval_seconds = 0.5

    def __init__(
        self,
        engine: Engine,
        lease: Lease,
        held: Callable[[], Mapping[str, int]],
        deliver: Callable[[Mapping[str, Sequence[EndedWait]]], object],
        drop: Callable[[Mapping[str, int]], object],
    ) -> None:
        self._engine = engine
        self._lease = lease
        self._held = held
        self._deliver = deliver
        self._drop = drop

    def run_once(self) -> Mapping[str, int]:
        """Look once; returns the numbers of runs that were told of ended waits, and that were let go."""
        held = self._held()
        if (
            not held or not self._lease.valid()
        ):  # without a lease, all is dropped once that is certain
            return {"signalled": 0, "gone": 0}
        rows = [{"id": run_id, "epoch": epoch} for run_id, epoch in held.items()]
        with self._engine.begin() as connection:
            worker_id = self._lease.worker_id
            gone = store.FIND_GONE.run(connection, rows, worker_id=worker_id)
            taken = [row.id for row in store.TAKE_SIGNALS.run(connection, worker_id=worker_id)]
            signalled = [run_id for run_id in taken if run_id in held]
            ended = load_ended(connection, signalled) if signalled else {}
            early = [{"id": run_id} for run_id in taken if run_id not in held]
            if early:  # claimed, but not in anybody's hands yet: there is nobody to be told
                store.SIGNAL_AGAIN.run(connection, early, worker_id=worker_id)
        if gone:
            self._drop({row.id: row.epoch for row in gone})
        if ended:
            self._deliver(ended)
        return {"signalled": len(signalled), "gone": len(gone)}
