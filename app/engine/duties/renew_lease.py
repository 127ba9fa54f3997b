"""Duty: keep this worker's lease; when it was lost, let go of everything and begin a new one."""

from collections.abc import Callable, Mapping

from app.core.logging import get_logger
from app.engine.lease import Lease

RENEWALS_PER_LEASE = 4
log = get_logger(__name__)


class RenewLease:
    """Renews the lease well before it runs out."""

    name = "renew_lease"

    def __init__(self, lease: Lease, lease_seconds: float, drop_all: Callable[[], object]) -> None:
        self._lease = lease
        self._drop_all = drop_all
        self.interval_seconds = lease_seconds / RENEWALS_PER_LEASE

    def run_once(self) -> Mapping[str, int]:
        """Renew; returns `{"lost": 1}` when another worker had taken this one for dead."""
        if self._lease.renew():
            return {"lost": 0}
        log.warning("lease_lost", worker_id=self._lease.worker_id)
        self._drop_all()
        self._lease.begin()
        return {"lost": 1}
