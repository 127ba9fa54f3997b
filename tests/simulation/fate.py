"""What the world does to a run: how attempts end, how long they take, and when workers die. Seeded, so that it replays."""

import re
from datetime import timedelta
from random import Random

from app.engine.language.plan import Step
from app.engine.planning.record import StepState
from app.engine.planning.transitions import Failed, Outcome, Succeeded

VISIT = re.compile(r"\[(\d+)\]$")
"""Stands at the end of a path: how often a cycle has come back to this step."""


class Fate:
    """How attempts end: told by the step's path and how often it has failed, never by when or where it runs."""

    def __init__(self, seed: int) -> None:
        self._seed = seed

    def outcome(self, step: Step, state: StepState) -> Outcome:
        """Return how an attempt ends."""
        random = Random(f"{self._seed}:{state.path}:{state.failures}")
        roll = random.random()
        if roll < 0.06:
            return Failed("broken", "It broke for good.", again=False)
        if roll < 0.22:
            return Failed("shaky", "It may pass.", timed_out=roll < 0.1, after_seconds=1)
        visit = int(found[1]) if (found := VISIT.search(state.path)) else 0
        output = {"of": state.path, "visit": visit, "items": list(range(random.randrange(4)))}
        stopped = roll > 0.94
        return Succeeded(output, None if stopped else random.choice(step.ports))

    def duration(self, state: StepState) -> timedelta:
        """Return how long an attempt takes."""
        random = Random(f"{self._seed}:{state.path}:{state.attempt}:duration")
        return timedelta(seconds=random.choice((0.25, 0.5, 1, 1, 2, 7)))


class Calm:
    """Nothing goes wrong."""

    def strikes(self) -> bool:
        """Tell whether the worker dies here."""
        return False

    def freezes(self) -> bool:
        """Tell whether the worker stands still past its lease, and then goes on."""
        return False

    def drains(self) -> bool:
        """Tell whether the worker is told to stop."""
        return False

    def loses(self) -> bool:
        """Tell whether a hint is lost."""
        return False

    def doubles(self) -> bool:
        """Tell whether a hint arrives at two workers."""
        return False


class Chaos(Calm):
    """Everything goes wrong, so many times."""

    def __init__(self, random: Random, most: int) -> None:
        self._random = random
        self._left = most

    def strikes(self) -> bool:
        """Tell whether the worker dies here."""
        return self._happens(8)

    def freezes(self) -> bool:
        """Tell whether the worker stands still past its lease, and then goes on."""
        return self._happens(12)

    def drains(self) -> bool:
        """Tell whether the worker is told to stop."""
        return self._happens(15)

    def loses(self) -> bool:
        """Tell whether a hint is lost."""
        return self._happens(5)

    def doubles(self) -> bool:
        """Tell whether a hint arrives at two workers."""
        return self._happens(3)

    def _happens(self, times: int) -> bool:
        happens = self._left > 0 and self._random.randrange(times) == 1
        self._left -= happens
        return happens
