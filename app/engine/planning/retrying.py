"""What starts anew when a run goes on from one of its steps: a person retries it, or replays the run from there. Pure.

A step begins anew with everything that comes after it in the plan; the loops around it are opened again, and keep the
iterations that are done. Whatever would end the run at once, and what was interrupted when it ended, begins anew as well.
"""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

from app.core.statuses import AttemptStatus
from app.engine.language.plan import ALWAYS, FAILED, Plan, Step
from app.engine.planning.loops import ITERATION
from app.engine.planning.record import Record, StepState


@dataclass(frozen=True, slots=True)
class Place:
    """Where a step stands: in which plan, and what all paths on its level begin with (`each[3].`; the run's own: nothing)."""

    plan: Plan
    step: Step
    level: str


@dataclass(frozen=True, slots=True)
class Anew:
    """What is done again. The attempts at `superseded` steps become history; `reopened` loops go on where they stood."""

    superseded: frozenset[str]
    reopened: tuple[StepState, ...]


def go_on_from(plan: Plan, record: Record, path: str | None, *, whole_loop: bool = False) -> Anew:
    """Return what starts anew so that an ended run goes on from a recorded step; None: from where it has failed.

    A loop that has failed goes on with the iterations that did not succeed, or begins as a `whole_loop`.
    """
    return _Rework(plan, record).going_on_from(path, whole_loop=whole_loop)


def place_of(plan: Plan, path: str) -> Place | None:
    """Return where a path leads to; None when the plan has no such step."""
    level = ""
    *outer, last = path.split(".")
    for segment in outer:
        around = plan.steps.get(_name(segment))
        if around is None or around.loop is None:
            return None
        plan, level = around.loop.body, f"{level}{segment}."
    step = plan.steps.get(_name(last))
    return None if step is None else Place(plan, step, level)


def loops_around(path: str) -> list[str]:
    """Return the paths of the loops that a step lies in, outermost first."""
    return [path[: found.start()] for found in ITERATION.finditer(path)]


def _name(segment: str) -> str:
    return segment.partition("[")[0]


def _level(path: str) -> str:
    return path[: path.rfind(".") + 1]


class _Rework:
    """Looks through one record."""

    def __init__(self, plan: Plan, record: Record) -> None:
        self._record = record
        found = {path: place_of(plan, path) for path in record}
        self._places = {path: place for path, place in found.items() if place is not None}
        self._levels: dict[str, list[str]] = defaultdict(list)
        for path, place in self._places.items():
            self._levels[place.level].append(path)
        self._reach: dict[tuple[int, str, bool], frozenset[str]] = {}

    def going_on_from(self, path: str | None, *, whole_loop: bool) -> Anew:
        again = self._failures_in_the_way(path)
        again |= self._interrupted(again)
        around = {loop for one in again for loop in loops_around(one)}
        reopened = around | {one for one in again if self._places[one].step.loop is not None}
        superseded = (again - reopened) | self._after(again | around)
        if whole_loop and path is not None:
            superseded.add(path)
        superseded |= {one for one in self._record if superseded.intersection(loops_around(one))}
        return Anew(
            frozenset(superseded | reopened),
            tuple(_reopen(self._record[loop]) for loop in sorted(reopened - superseded)),
        )

    def _failures_in_the_way(self, path: str | None) -> set[str]:
        """Return the step, and the failures because of which nothing would start where it is, or the run would end."""
        again = set() if path is None else {path}
        while True:
            going_on = {""}
            for one in again:
                for at in (one, *loops_around(one)):
                    going_on |= {at, _level(at)}
            more = {
                one
                for one, halted in self._halted.items()
                if one not in again and not going_on.isdisjoint(halted)
            }
            if not more:
                return again
            again |= more

    @cached_property
    def _halted(self) -> dict[str, frozenset[str]]:
        """Return what each failed step has halted: its level, and the loops and levels around that fail with it."""
        return {
            path: frozenset(self._halts(path)) for path in self._places if self._record[path].failed
        }

    def _halts(self, path: str) -> Iterator[str]:
        place = self._places[path]
        while not _handled(place):
            yield place.level
            around = loops_around(path)
            if not around:
                return
            path, place = around[-1], self._places[around[-1]]
            if place.step.loop is None or place.step.loop.keep_going:
                return
            yield path

    def _interrupted(self, again: set[str]) -> set[str]:
        """Return the cancelled steps on levels that go on."""
        stopped = {
            _level(path)
            for path, halted in self._halted.items()
            if path not in again and _level(path) in halted
        }
        opened = {at for one in again for at in (one, *loops_around(one))}
        found: set[str] = set()
        for path in sorted(self._places, key=lambda path: path.count(".")):
            around = loops_around(path)
            goes_on = not around or around[-1] in opened
            if self._record[path].status is not AttemptStatus.CANCELLED or not goes_on:
                continue
            if _level(path) not in stopped:
                found.add(path)
                opened.add(path)
        return found

    def _after(self, paths: set[str]) -> set[str]:
        """Return everything that comes after these steps, each on its own level."""
        return {
            other
            for path in paths
            for other in self._levels[self._places[path].level]
            if self._comes_after(path, other)
        }

    def _comes_after(self, first: str, second: str) -> bool:
        here, there = self._places[first], self._places[second]
        plan, before, after = here.plan, here.step.id, there.step.id
        if first == second or after not in self._following(plan, before, back=True):
            return False
        if before not in self._following(plan, after, back=True):
            return True
        # Both lie in a cycle: what has come after is of this iteration and further on, or of a later one.
        onward = after in self._following(plan, before, back=False)
        same_cycles = all(
            (before in region) == (after in region) for region in plan.regions.values()
        )
        if onward or not same_cycles:
            return self._record[second].seq > self._record[first].seq
        return _visit(second) > _visit(first)

    def _following(self, plan: Plan, step: str, *, back: bool) -> frozenset[str]:
        """Return the steps that edges lead to from this one; with `back`, also those that lead back."""
        key = (id(plan), step, back)
        if key not in self._reach:
            found: set[str] = set()
            front = [step]
            while front:
                at = front.pop()
                edges = (*plan.outgoing[at], *(plan.leading_back[at] if back else ()))
                fresh = {edge.target for edge in edges} - found
                found |= fresh
                front += fresh
            self._reach[key] = frozenset(found)
        return self._reach[key]


def _reopen(before: StepState) -> StepState:
    """Return the next attempt of a loop; it began when the first one did, so that its items are the same."""
    return StepState(
        before.path,
        before.type,
        AttemptStatus.RUNNING,
        before.attempt + 1,
        before.seq,
        started_at=before.started_at,
    )


def _handled(place: Place) -> bool:
    edges = (*place.plan.outgoing[place.step.id], *place.plan.leading_back[place.step.id])
    return place.step.continue_on_error or any(edge.port in {FAILED, ALWAYS} for edge in edges)


def _visit(path: str) -> int:
    """Return which iteration of a cycle an instance of a step belongs to."""
    _, _, number = path[path.rfind(".") + 1 :].partition("[")
    return int(number.removesuffix("]")) if number else 0
