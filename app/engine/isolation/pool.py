"""The child processes of one worker: few, kept warm, and none left at its end."""

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from app.core.config import Settings
from app.engine.attempt.answers import Refused
from app.engine.isolation.child import Child
from app.engine.isolation.messages import Hello
from app.engine.planning.transitions import Failed
from app.engine.registry import NodeType

PACKAGE = "app."
IDLE_SECONDS = 60.0


class ChildPool:
    """Lends children to attempts. Belongs to one event loop; starts nothing before the first isolated attempt."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._free = asyncio.Semaphore(settings.isolated_processes)
        self._lent = 0
        self._idle: dict[Child, asyncio.TimerHandle] = {}
        """In the order in which they were given back."""
        self._ending: set[asyncio.Task[None]] = set()

    def isolates(self, node: NodeType) -> bool:
        """Tell whether a node type runs in a process of its own: it asks for it, or the operator does."""
        foreign = not type(node.node).__module__.startswith(PACKAGE)
        return node.node.isolation == "process" or (foreign and self._settings.plugin_isolation)

    @asynccontextmanager
    async def borrow(self, node: NodeType, seconds: float | None) -> AsyncIterator[Child]:
        """Lend a child for one attempt, waiting for one at most so long; one that is not `usable` afterwards is ended.

        Raises:
            Refused: none became free in time, or none could be started.
        """
        try:
            async with asyncio.timeout(seconds):
                child = await self._lend(node)
        except TimeoutError:
            message = "No process for the step became free before the run's time was up."
            raise Refused(Failed("step_timed_out", message, timed_out=True)) from None
        try:
            yield child
        finally:
            self._take_back(child)

    async def close(self) -> None:
        """End all children, and wait until they are gone."""
        for child in list(self._idle):
            self._end(child)
        await asyncio.gather(*self._ending)

    async def _lend(self, node: NodeType) -> Child:
        await self._free.acquire()
        self._lent += 1
        try:
            return self._take_idle(node.node.type) or await self._start(node)
        except BaseException:
            self._release()
            raise

    def _take_idle(self, node_type: str) -> Child | None:
        for child in reversed(self._idle):
            if child.type == node_type:
                self._idle.pop(child).cancel()
                if child.usable:
                    return child
                self._end(child)
                return self._take_idle(node_type)
        return None

    async def _start(self, node: NodeType) -> Child:
        if len(self._idle) + self._lent > self._settings.isolated_processes:
            self._end(next(iter(self._idle)))
        return await Child.start(self._hello(node))

    def _hello(self, node: NodeType) -> Hello:
        module = type(node.node).__module__
        return Hello(
            type=node.node.type,
            module=module,
            path=str(sys.modules[module].__file__),
            memory_limit_mb=node.node.memory_limit_mb,
            max_output_bytes=self._settings.max_output_bytes,
            egress_allow=self._settings.egress_allow,
            log_level=self._settings.log_level,
            log_format=self._settings.log_format,
        )

    def _take_back(self, child: Child) -> None:
        if child.usable:
            loop = asyncio.get_running_loop()
            self._idle[child] = loop.call_later(IDLE_SECONDS, self._end, child)
        else:
            self._end(child)
        self._release()

    def _release(self) -> None:
        self._lent -= 1
        self._free.release()

    def _end(self, child: Child) -> None:
        timer = self._idle.pop(child, None)
        if timer is not None:
            timer.cancel()
        task = asyncio.get_running_loop().create_task(child.end())
        self._ending.add(task)
        task.add_done_callback(self._ending.discard)
