"""What is to be done once a commit stands. Each is also found by a duty, should this process die in between."""

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Followups:
    """`new_runs` are to be handed on; of `ended_runs`, parents may wait; `awaited`: runs whose events may be here already."""

    new_runs: tuple[str, ...] = ()
    ended_runs: tuple[str, ...] = ()
    awaited: tuple[str, ...] = ()
    published: tuple[str, ...] = ()
    """Ids of events that may end waits."""
    freed: tuple[tuple[str, str], ...] = ()
    """Owners and workflows under a cap on concurrent runs, of which runs have left their worker."""

    def __add__(self, other: "Followups") -> "Followups":
        """Return both."""
        return Followups(
            self.new_runs + other.new_runs,
            self.ended_runs + other.ended_runs,
            self.awaited + other.awaited,
            self.published + other.published,
            self.freed + other.freed,
        )

    def __bool__(self) -> bool:
        """Tell whether there is anything to do."""
        return any((self.new_runs, self.ended_runs, self.awaited, self.published, self.freed))


FollowUp = Callable[[Followups], None]
