"""How many streams a process serves."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from app.core.errors import TooManyRequests

MAX_STREAMS = 200
MAX_STREAMS_PER_USER = 20
RETRY_SECONDS = 10


class OpenStreams:
    """Streams that are open, by user. Lives on the event loop."""

    def __init__(self) -> None:
        self._open: Counter[str] = Counter()

    def require_room(self, user_id: str) -> None:
        """Refuse more streams than this process can serve.

        Raises:
            TooManyRequests: the user, or everybody together, listens to too many.
        """
        if self._open[user_id] >= MAX_STREAMS_PER_USER or self._open.total() >= MAX_STREAMS:
            raise TooManyRequests(
                "Too many streams are open: close some, then try again.", RETRY_SECONDS
            )

    @contextmanager
    def listen(self, user_id: str) -> Iterator[None]:
        """Count a stream for as long as it is open."""
        self._open[user_id] += 1
        try:
            yield
        finally:
            self._open[user_id] -= 1
