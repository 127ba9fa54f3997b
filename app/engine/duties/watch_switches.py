"""Duty: read the kill switches, so often that one that is set counts here within a second."""

from collections.abc import Mapping

from app.core.logging import get_logger
from app.engine.guards.snapshot import Snapshot

log = get_logger(__name__)


class WatchSwitches:
    """Reads three times in the time after which a reading is too old to start anything by."""

    name = "watch_switches"
    interval_seconds = 0.3

    def __init__(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot

    def run_once(self) -> Mapping[str, int]:
        """Read once; returns `{"changed": 1}` when there is another set of switches than before."""
        before = self._snapshot.switches
        after = self._snapshot.read()
        if after == before:
            return {"changed": 0}
        log.warning("kill_switches_changed", switches=[switch.held.reason for switch in after])
        return {"changed": 1}
