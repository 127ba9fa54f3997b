"""A worker's numbers, put together: what it measures, where it lays it down, and its own port."""

import asyncio
import os

from prometheus_client import generate_latest

from app.core.clock import SystemClock
from app.core.config import Settings
from app.engine.duties.loop import DutyLoop
from app.engine.metrics.meters import WorkerMeters
from app.engine.metrics.port import MetricsPort
from app.engine.metrics.shelf import FOLDER, Publish, Shelf


class WorkerMetrics:
    """Shows what the meters measure from `begin` to `end`."""

    def __init__(self, settings: Settings, meters: WorkerMeters) -> None:
        self._shelf = Shelf(settings.data_dir / FOLDER, f"worker-{os.getpid()}", SystemClock())
        self._publishing = DutyLoop(Publish(self._shelf, meters.registry), meters.duty_done)
        self._port = _port_of(settings, meters)

    def begin(self) -> None:
        """Start to show them."""
        self._publishing.start()
        if self._port is not None:
            self._port.start()

    async def end(self) -> None:
        """Show them no longer."""
        await asyncio.to_thread(self._publishing.stop)
        if self._port is not None:
            await asyncio.to_thread(self._port.close)
        self._shelf.remove()


def _port_of(settings: Settings, meters: WorkerMeters) -> MetricsPort | None:
    if not settings.metrics_port:
        return None
    return MetricsPort(
        settings.host,
        settings.metrics_port,
        settings.metrics_token_text,
        lambda: generate_latest(meters.registry),
    )
