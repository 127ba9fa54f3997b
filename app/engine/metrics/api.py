"""An API process's numbers, put together: its own, those of its neighbours on the machine, and those of the whole platform."""

import asyncio
import os
from collections.abc import Iterable

from prometheus_client.core import GaugeMetricFamily, Metric
from redis import Redis
from sqlalchemy import Engine

from app.core.clock import SystemClock
from app.core.config import Settings
from app.engine.delivery.dispatch import Dispatcher
from app.engine.duties.loop import DutyLoop
from app.engine.metrics.backlog import Backlog, BacklogReader
from app.engine.metrics.exposition import text_of
from app.engine.metrics.meters import PREFIX, ApiMeters
from app.engine.metrics.shelf import FOLDER, Publish, Shelf


class ApiMetrics:
    """Measures from the start, and shares what it measures from `begin` to `end`."""

    def __init__(self, settings: Settings, engine: Engine, redis: Redis) -> None:
        clock = SystemClock()
        self.meters = ApiMeters()
        self.backlog = BacklogReader(engine, clock)
        self._dispatcher = Dispatcher(redis)
        self._shelf = Shelf(settings.data_dir / FOLDER, f"api-{os.getpid()}", clock)
        self._publishing = DutyLoop(Publish(self._shelf, self.meters.registry), lambda *_: None)

    def begin(self) -> None:
        """Start to lay the numbers down for the other API processes."""
        self._publishing.start()

    async def end(self) -> None:
        """Take them away."""
        await asyncio.to_thread(self._publishing.stop)
        self._shelf.remove()

    def hints(self) -> int:
        """Return how many hints wait in Redis; 0 when it does not answer."""
        return self._dispatcher.backlog()

    def text(self, backlog: Backlog | None) -> bytes:
        """Return what Prometheus reads; without a backlog, when the database does not answer."""
        own = {self._shelf.name: self.meters.registry}
        return text_of(own, self._shelf.others(), [*self._platform(backlog)])

    def _platform(self, backlog: Backlog | None) -> Iterable[Metric]:
        yield GaugeMetricFamily(
            f"{PREFIX}database_up", "Whether the database answers.", int(backlog is not None)
        )
        if backlog is not None:
            yield from backlog.families()
        yield GaugeMetricFamily(
            f"{PREFIX}queue_hints",
            "Hints in all queues of Redis, each for up to 200 runs.",
            self.hints(),
        )
