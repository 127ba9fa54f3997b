"""From a decision to what is written down: the changed step states, and where the run stands then."""

from dataclasses import dataclass
from datetime import datetime

from app.core.statuses import AttemptStatus
from app.engine.language.plan import Plan
from app.engine.planning.planner import End, Wait, decide
from app.engine.planning.record import Record, StepState
from app.engine.planning.transitions import begin, cancel, skip


@dataclass(frozen=True, slots=True)
class Progress:
    """What one look at a run yields: the new record, what of it changed, what starts, waits or ends."""

    record: dict[str, StepState]
    changes: tuple[StepState, ...]
    started: tuple[StepState, ...]
    waits: tuple[Wait, ...]
    end: End | None

    @property
    def idle(self) -> bool:
        """Tell whether nothing is left to do now: the run waits, and no worker is held."""
        return self.end is None and not any(
            state.status is AttemptStatus.RUNNING for state in self.record.values()
        )


def progress(plan: Plan, record: Record, now: datetime, deadline: datetime | None) -> Progress:
    """Decide what happens next in a run, and return it as the states to be recorded."""
    decision = decide(plan, record, now, deadline)
    states = dict(record)
    changes: list[StepState] = []
    for path in decision.skip:
        changes.append(skip(path, plan.steps[path].type, len(states), now))
        states[path] = changes[-1]
    started = []
    for start in decision.start:
        before = states.get(start.path)
        seq = before.seq if before is not None else len(states)
        started.append(begin(start.path, plan.steps[start.path].type, seq, now, before))
        states[start.path] = started[-1]
    if decision.end is not None:
        changes += [
            cancel(state, now) for state in states.values() if state.status is AttemptStatus.RUNNING
        ]
        states.update((state.path, state) for state in changes)
    return Progress(states, (*changes, *started), tuple(started), decision.waits, decision.end)
