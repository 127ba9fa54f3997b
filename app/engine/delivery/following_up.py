"""What a commit brings about, in a thread of its own: no other commit waits for it."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

from sqlalchemy.exc import DBAPIError

from app.core.logging import get_logger
from app.engine.children.ending import ChildEndings
from app.engine.events.matcher import Matcher
from app.engine.followups import Followups

log = get_logger(__name__)


class FollowUpThread:
    """Hands new runs on, tells parents of ended ones, calls runs that have room now, and matches events with waits."""

    def __init__(
        self,
        endings: ChildEndings,
        matcher: Matcher,
        call_next: Callable[[Sequence[tuple[str, str]]], object],
        hand_on: Callable[[Sequence[str]], None],
    ) -> None:
        self._endings = endings
        self._matcher = matcher
        self._call_next = call_next
        self._hand_on = hand_on
        self._thread = ThreadPoolExecutor(1, "follow-up")

    def begin(self, followups: Followups) -> None:
        """Do what follows from a commit, soon."""
        if followups.new_runs:
            self._thread.submit(self._hand_on, followups.new_runs)
        if followups.ended_runs:
            self._thread.submit(self._endings.tell_of, followups.ended_runs)
        if followups.freed:
            self._thread.submit(self._call_next, followups.freed)
        if followups.published or followups.awaited:
            self._thread.submit(self._match_events, followups)

    def stop(self) -> None:
        """Do what is left, and end."""
        self._thread.shutdown()

    def _match_events(self, followups: Followups) -> None:
        try:
            run_ids = self._matcher.take(followups.published)[1]
            run_ids += self._matcher.search(followups.awaited)
        except DBAPIError as error:  # the duty finds what is left
            log.warning("events_not_matched", reason=" ".join(str(error.orig).split()))
            return
        if run_ids:
            self._hand_on(run_ids)
