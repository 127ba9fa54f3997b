"""What a run in flight is told from outside: which of its waits have ended."""

import asyncio
from collections.abc import Sequence

from app.engine.active_run import EndedWait


class Inbox:
    """Ended waits of one run. `news` is done once there are any; used on the event loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._ended: list[EndedWait] = []
        self.news: asyncio.Future[None] = loop.create_future()

    def put(self, ended: Sequence[EndedWait]) -> None:
        """Take in what has ended."""
        self._ended += ended
        if not self.news.done():
            self.news.set_result(None)

    def take(self) -> Sequence[EndedWait]:
        """Return what has come since the last time."""
        if not self._ended:
            return ()
        ended, self._ended = self._ended, []
        self.news = self._loop.create_future()
        return ended
