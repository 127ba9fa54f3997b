"""Start processes stage by stage, start again what dies, and stop all in the opposite order."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from app.core.errors import ConfigurationError
from app.embedded.managed import Managed
from app.embedded.signals import SignalInbox

POLL_SECONDS = 0.01
WATCH_SECONDS = 1.0
START_SECONDS = 120.0
FIRST_DELAY_SECONDS = 0.2
LONGEST_DELAY_SECONDS = 30.0
STABLE_SECONDS = 60.0

Say = Callable[[str], None]


class StopRequested(Exception):
    """Somebody asked to stop while we were starting."""


@dataclass(slots=True)
class Watched:
    """A process under watch: since when it runs, how often in a row it died, and when it is due again."""

    managed: Managed
    launched_at: float
    deaths: int = 0
    due_at: float | None = None

    def died(self, now: float) -> float:
        """Note a death; return the seconds to wait, doubled each time until it has run for a while."""
        self.deaths = 1 if now - self.launched_at > STABLE_SECONDS else self.deaths + 1
        delay = min(FIRST_DELAY_SECONDS * 2.0 ** (self.deaths - 1), LONGEST_DELAY_SECONDS)
        self.due_at = now + delay
        return delay

    def launch(self, now: float) -> None:
        """Start it again."""
        self.launched_at, self.due_at = now, None
        self.managed.launch()


@dataclass(slots=True)
class Supervisor:
    """Keeps processes running until a signal asks to stop. Everything happens in the caller's thread."""

    inbox: SignalInbox
    say: Say
    stages: list[list[Watched]] = field(default_factory=list)

    def start(self, *stage: Managed) -> None:
        """Launch processes together, and wait until all are ready.

        Raises:
            ConfigurationError: when one ends or does not get ready in time.
            StopRequested: when a signal came first.
        """
        started = time.monotonic()
        watched: list[Watched] = []
        self.stages.append(watched)
        for managed in stage:
            watched.append(Watched(managed, time.monotonic()))
            managed.launch()
        waiting = list(stage)
        while waiting:
            waiting = [managed for managed in waiting if not self._became_ready(managed, started)]
            if waiting:
                self._pause(started)

    def run_once(self, managed: Managed) -> bool:
        """Run a process to its end; tell whether it ended well.

        Raises:
            StopRequested: when a signal came first.
        """
        self.stages.append([Watched(managed, time.monotonic())])
        managed.launch()
        while not managed.has_ended():
            self._check_stop()
            self.inbox.wait(WATCH_SECONDS)
        self.stages.pop()
        return managed.process is not None and managed.process.returncode == 0

    def watch(self) -> None:
        """Start again whatever dies, until a signal asks to stop."""
        while not self.inbox.stop_requests:
            now = time.monotonic()
            for stage in self.stages:
                for watched in stage:
                    self._attend(watched, now)
            self.inbox.wait(self._next_due() - time.monotonic())

    def stop(self) -> None:
        """Stop the stages in the opposite order; a second request hastens."""
        for stage in reversed(self.stages):
            for watched in stage:
                watched.managed.send(watched.managed.ending[0][0])
            for watched in stage:
                self._see_off(watched.managed)
        self.stages.clear()

    def _became_ready(self, managed: Managed, started: float) -> bool:
        if managed.has_ended():
            raise ConfigurationError(managed.explain_end())
        if not managed.is_ready():
            return False
        self.say(f"{managed.name:<12} {managed.ready_word:<8} {time.monotonic() - started:5.1f} s")
        return True

    def _pause(self, started: float) -> None:
        self._check_stop()
        if time.monotonic() - started > START_SECONDS:
            raise ConfigurationError(
                f"Not everything was ready after {START_SECONDS:.0f} s: see the messages above."
            )
        self.inbox.wait(POLL_SECONDS)

    def _check_stop(self) -> None:
        if self.inbox.stop_requests:
            raise StopRequested

    def _attend(self, watched: Watched, now: float) -> None:
        if watched.due_at is not None:
            if now >= watched.due_at:
                watched.launch(now)
        elif watched.managed.has_ended():
            delay = watched.died(now)
            self.say(f"{watched.managed.explain_end()} It is started again in {delay:.1f} s.")

    def _next_due(self) -> float:
        dues = [watched.due_at for stage in self.stages for watched in stage if watched.due_at]
        return min([time.monotonic() + WATCH_SECONDS, *dues])

    def _see_off(self, managed: Managed) -> None:
        for number, patience in managed.ending:
            if managed.has_ended():
                break
            managed.send(number)
            self._wait_for_end(managed, patience)
        managed.clean_up()

    def _wait_for_end(self, managed: Managed, patience: float) -> None:
        begun = time.monotonic()
        while not managed.has_ended():
            hasty = self.inbox.stop_requests > 1
            left = begun + (min(managed.hasty_seconds, patience) if hasty else patience)
            if time.monotonic() >= left:
                return
            self.inbox.wait(min(left - time.monotonic(), WATCH_SECONDS))
