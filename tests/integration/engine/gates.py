"""Gates that steps stand before until a test opens them: the test says when an attempt ends, and how."""

import asyncio
from collections import defaultdict
from dataclasses import dataclass, field


@dataclass
class Gate:
    """One gate. `entered` counts the attempts that have come to it, `left` those of the stubborn that are gone again,
    `most_inside` how many of a crowd stood there at once.

    While it `fails`, those that pass fail.
    """

    entered: int = 0
    left: int = 0
    fails: bool = False
    most_inside: int = 0
    opened: asyncio.Event = field(default_factory=asyncio.Event)


GATES: dict[str, Gate] = defaultdict(Gate)
