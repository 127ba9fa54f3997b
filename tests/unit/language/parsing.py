"""What the tests of the language share: a catalogue, short ways to write steps, and what is refused."""

from typing import Any

import pytest

from app.core.errors import InvalidDefinition, Problem
from app.engine.language.definition import parse_definition
from app.engine.language.plan import Plan
from app.engine.registry import load_catalogue

CATALOGUE = load_catalogue()


def step(name: str, *depends_on: str, **fields: Any) -> dict[str, Any]:
    """Return a step; without `depends_on` it starts at once."""
    plain = {"id": name, "type": "merge", "depends_on": list(depends_on)}
    return {**plain, **fields}


def says(name: str, message: str, *depends_on: str, **fields: Any) -> dict[str, Any]:
    """Return a step with an expression in its config."""
    return step(name, *depends_on, type="log", config={"message": message}, **fields)


def condition(name: str, *depends_on: str, **fields: Any) -> dict[str, Any]:
    """Return a step with the ports `true` and `false`."""
    return step(name, *depends_on, type="condition", config={"if": "true"}, **fields)


def loop(name: str, *body: dict[str, Any], **config: Any) -> dict[str, Any]:
    """Return a loop over a list."""
    return step(name, type="for_each", config={"items": "[1]", **config}, steps=list(body))


def parsed(*steps: dict[str, Any]) -> Plan:
    """Return the plan of steps that hold."""
    return parse_definition({"steps": list(steps)}, CATALOGUE)


def refused(raw: dict[str, Any]) -> tuple[Problem, ...]:
    """Return what is wrong with a definition."""
    with pytest.raises(InvalidDefinition) as refusal:
        parse_definition(raw, CATALOGUE)
    return refusal.value.problems


def problems(*steps: Any) -> list[tuple[str, str]]:
    """Return where steps are wrong, and how."""
    return [(problem.pointer, problem.code) for problem in refused({"steps": list(steps)})]
