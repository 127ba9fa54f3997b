"""Plays a definition by hand: what starts is looked at, how it ends is said, step by step."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from app.core.statuses import AttemptStatus, RunStatus
from app.engine.language.definition import parse_definition
from app.engine.language.plan import RetryPolicy
from app.engine.planning.board import Board
from app.engine.planning.decision import Decision
from app.engine.planning.record import Record, StepState
from app.engine.planning.transitions import Failed, Outcome, Succeeded, settle
from app.engine.registry import load_catalogue

START = datetime(2026, 11, 21, tzinfo=UTC)
CATALOGUE = load_catalogue()
FACTS: dict[str, Any] = {"input": {"n": 3}}


def step(name: str, *depends_on: str, **fields: Any) -> dict[str, Any]:
    """Return a step; without `depends_on` it starts at once."""
    plain = {"id": name, "type": "log", "config": {"message": "x"}}
    return {**plain, "depends_on": list(depends_on), **fields}


def condition(name: str, *depends_on: str, **fields: Any) -> dict[str, Any]:
    """Return a step with the ports `true` and `false`."""
    return step(name, *depends_on, type="condition", config={"if": "true"}, **fields)


def for_each(name: str, *body: dict[str, Any], **config: Any) -> dict[str, Any]:
    """Return a loop over a list."""
    return step(name, type="for_each", config={"items": "[1, 2, 3]", **config}, steps=list(body))


def while_(name: str, *body: dict[str, Any], **config: Any) -> dict[str, Any]:
    """Return a loop over a condition."""
    return step(name, type="while", config=config, steps=list(body))


class Play:
    """A run that is played. `starts` are the paths that were started last."""

    def __init__(
        self, *steps: dict[str, Any], recorded: Record | None = None, **definition: Any
    ) -> None:
        self.plan = parse_definition({"steps": list(steps), **definition}, CATALOGUE)
        self.board = Board(self.plan, FACTS, START, recorded)
        self.now = START
        self.last = Decision()
        self.look()

    @classmethod
    def graph(cls, nodes: list[dict[str, Any]], edges: list[dict[str, Any]]) -> "Play":
        """Play the graph surface."""
        play = cls(step("unused"))
        definition = {"nodes": nodes, "edges": edges, "start_node": nodes[0]["id"]}
        play.plan = parse_definition(definition, CATALOGUE)
        play.board = Board(play.plan, FACTS, START)
        return play.look()

    def rebuilt(self, *gone: str) -> "Play":
        """Return the same run as another worker finds it; `gone` are paths that were never recorded."""
        play = Play(step("unused"))
        play.plan, play.now = self.plan, self.now
        record = {path: state for path, state in self.board.record.items() if path not in gone}
        play.board = Board(self.plan, FACTS, START, record)
        return play

    def rebuilt_from(self, record: Record, superseded: Mapping[str, int]) -> "Play":
        """Return the same plan with another record, as a worker finds it after a retry."""
        play = self.rebuilt()
        play.board = Board(self.plan, FACTS, START, record, superseded)
        return play

    def look(self, *settled: StepState, start: bool = True) -> "Play":
        """Let the board look."""
        self.last = self.board.look(settled, self.now, start=start)
        return self

    def wait(self, seconds: float, *, start: bool = True) -> "Play":
        """Let time pass."""
        self.now += timedelta(seconds=seconds)
        return self.look(start=start)

    def done(self, *paths: str, output: Any = None, port: str | None = "out") -> "Play":
        """Let attempts succeed at the same time."""
        self.now += timedelta(seconds=1)
        return self.look(*(self.end(path, Succeeded(output, port)) for path in paths))

    def failed(self, *paths: str, again: bool = False) -> "Play":
        """Let attempts fail at the same time."""
        self.now += timedelta(seconds=1)
        outcome = Failed("boom", "It broke.", again=again)
        return self.look(*(self.end(path, outcome) for path in paths))

    def end(self, path: str, outcome: Outcome) -> StepState:
        """Return the state of an attempt that has ended."""
        policy: RetryPolicy = self.board.step(path).retry
        return settle(self.board.record[path], outcome, policy, self.now, lambda: 0.0)

    @property
    def starts(self) -> list[str]:
        """Return the paths of the attempts that start."""
        return [state.path for state in self.last.started]

    @property
    def skipped(self) -> list[str]:
        """Return the paths that were skipped by the last look."""
        changes = self.last.changes
        return [state.path for state in changes if state.status is AttemptStatus.SKIPPED]

    def status(self, path: str) -> AttemptStatus:
        """Return where a step stands."""
        return self.board.record[path].status

    @property
    def output(self) -> Any:
        """Return the output of the run, which must have succeeded."""
        assert self.last.end is not None
        assert self.last.end.status is RunStatus.SUCCEEDED, self.last.end
        return self.last.end.output

    @property
    def error(self) -> dict[str, Any]:
        """Return the error of the run, which must have failed."""
        assert self.last.end is not None
        assert self.last.end.status is not RunStatus.SUCCEEDED
        return dict(self.last.end.error or {})
