"""Publishes events as their owner, at times that a test chooses."""

from datetime import datetime, timedelta
from typing import Any

from app.core.clock import SyncedClock, SystemClock
from app.engine.delivery.dispatch import BackgroundDispatch
from app.engine.metrics.meters import ApiMeters
from app.services.events import EventAnswer, EventDesk, EventRequest
from tests.integration.engine.world import World, owner_claims

DAY = 86_400.0
PAYMENT = "payment.received"


class ShiftedClock(SyncedClock):
    """Tells a time that a test has set back."""

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self._shift = timedelta(seconds=seconds)

    def now(self) -> datetime:
        return SystemClock().now() + self._shift


class Publisher:
    """Publishes events of the world's owner, now or at another time."""

    def __init__(self, world: World, dispatch: BackgroundDispatch) -> None:
        self._world, self._dispatch = world, dispatch
        self._desks: dict[float, EventDesk] = {}

    def desk(self, shift: float = 0.0) -> EventDesk:
        if shift not in self._desks:
            self._desks[shift] = EventDesk(
                self._world.engine, ShiftedClock(shift), self._dispatch, DAY, ApiMeters()
            )
        return self._desks[shift]

    async def __call__(
        self,
        order: str | None = None,
        payload: Any = None,
        *,
        type_: str = PAYMENT,
        shift: float = 0.0,
        **fields: Any,
    ) -> EventAnswer:
        request = EventRequest(owner_claims(self._world), type_, order, payload, **fields)
        return await self.desk(shift).submit(request)

    async def close(self) -> None:
        for desk in self._desks.values():
            await desk.close()
