"""What must hold in every commit of every run."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

from app.core.statuses import AttemptStatus
from app.engine.language.plan import ALWAYS, FAILED, Plan, Step
from app.engine.planning.board import Board
from app.engine.planning.record import ENDED_IN_FAILURE, StepState, latest

LOOPS = frozenset({"for_each", "while"})

Rows = Mapping[tuple[str, int], StepState]


def check_started(state: StepState, rows: Rows, *, unrecorded: bool) -> None:
    """An attempt is recorded before it starts, unless it may be unrecorded; a step that has succeeded never starts again."""
    recorded = rows.get((state.path, state.attempt))
    assert unrecorded if recorded is None else recorded.status is AttemptStatus.RUNNING
    done = [row for row in rows.values() if row.path == state.path]
    assert not any(row.status is AttemptStatus.SUCCEEDED for row in done), f"{state.path} is redone"


def check_commit(rows: Rows, states: Sequence[StepState]) -> None:
    """One state per attempt, what is settled stays, and one number per step."""
    keys = [(state.path, state.attempt) for state in states]
    assert len(keys) == len(set(keys)), "two states of one attempt in one commit"
    for state in states:
        before = rows.get((state.path, state.attempt))
        unsettled = before is None or before.status is AttemptStatus.RUNNING
        assert unsettled or before == state, f"{before} became {state}"
    numbers = {row.path: row.seq for row in (*rows.values(), *states)}
    assert all(row.seq == numbers[row.path] for row in (*rows.values(), *states))
    assert len(set(numbers.values())) == len(numbers), "two steps have one number"


def check_halt(
    plan: Plan, rows: Rows, states: Sequence[StepState], settled: Sequence[StepState]
) -> None:
    """Nothing new starts after a failure. To be asked of steady plans only: failures of iterations left behind count for nothing."""
    halted = halted_levels(plan, latest((*rows.values(), *settled)).values())
    for state in states:
        if state.status is AttemptStatus.RUNNING:
            assert not inside(state.path, halted), f"{state.path} starts after a failure"


def check_adopted(board: Board, record: Mapping[str, StepState]) -> None:
    """Everything that is recorded finds its place, except what lies within loops that are over."""
    over = {f"{path}[" for path, state in record.items() if state.settled and state.type in LOOPS}
    lost = {path for path in record.keys() - board.record.keys() if not inside(path, over)}
    assert not lost, f"{lost} have no place on the board"


def check_rebuilt(live: Board, rebuilt: Board, now: datetime, *, settled: bool) -> None:
    """A board that is built from the record stands where the live one stands, and has nothing to do.

    Unless the live one is `settled`, ready steps wait in it for their turn; a rebuilt one may give turns in another order.
    """
    if settled:
        decision = rebuilt.look((), now)
        late = rebuilt.deadline is not None and now >= rebuilt.deadline
        assert decision.end is None or late, "the rebuilt board ends the run"
        if late:
            return
        assert decision.changes == (), "the rebuilt board goes on differently"
        assert standing(rebuilt) == standing(live)
        assert rebuilt._retrying == live._retrying
    assert rebuilt.running.keys() == live.running.keys()


def standing(board: Board) -> object:
    """Return what a board has yet to do, and which loops are open how far."""
    ready = sorted((path, starts) for _, _, path, starts in board._decided)
    loops = {
        path: (sorted(loop.open), loop.stopped, loop.begun, loop.results)
        if loop.failure is None and not loop.outer.halted
        else sorted(loop.open)
        for path, loop in board._loops.items()
    }
    root = board._root
    return ready, loops, root.unsettled, root.reached, root.decided, root.view, cycles(board)


def cycles(board: Board) -> object:
    """Return where the cycles of a graph stand."""
    found = board._root.cycles
    if found is None:
        return None
    waiting = {back: set(edges) for back, edges in found.waiting.items() if edges}
    visits = {step: visit for step, visit in found.visits.items() if visit}
    return visits, found.left, found.settled, found.taken, waiting


def check_complete(plan: Plan, board: Board) -> None:
    """A run succeeds only once every step has been begun or skipped."""
    undecided = plan.steps.keys() - board._root.decided
    assert not undecided, f"the run is over, but {undecided} were neither begun nor skipped"


def halted_levels(plan: Plan, states: Iterable[StepState]) -> set[str]:
    """Return the prefixes of paths where nothing new may start: levels with a failure that nobody handles."""
    places = dict(_places(plan))
    halted: set[str] = set()
    for state in states:
        if state.status not in ENDED_IN_FAILURE or state.retry_at is not None:
            continue
        around, dot, place = state.path.rpartition(".")
        level, step = places[place.partition("[")[0]]
        if step.loop is not None:
            halted.add(f"{state.path}[")
        edges = (*level.outgoing[step.id], *level.leading_back[step.id])
        if not step.continue_on_error and not any(edge.port in {FAILED, ALWAYS} for edge in edges):
            halted.add(around + dot)
    return halted


def inside(path: str, levels: set[str]) -> bool:
    """Tell whether a step stands on one of these levels, or within."""
    return any(path.startswith(level) for level in levels)


def _places(plan: Plan) -> Iterable[tuple[str, tuple[Plan, Step]]]:
    for step in plan.steps.values():
        yield step.id, (plan, step)
        if step.loop is not None:
            yield from _places(step.loop.body)
