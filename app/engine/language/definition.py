"""Parse and check a definition: every problem at once, or a plan."""

from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import orjson

from app.core.errors import InvalidDefinition, Problem
from app.engine.language.catalogue import NodeCatalogue, NodeInfo
from app.engine.language.expressions import (
    Expression,
    ExpressionFault,
    compile_expression,
    compile_template,
)
from app.engine.language.input_schema import schema_problems
from app.engine.language.plan import Edge, Plan, RetryPolicy, Step
from app.engine.language.problems import nearest, pointer
from app.engine.language.references import ReferenceChecker
from app.engine.language.shape import DefinitionShape, StepShape, read

MAX_DEFINITION_BYTES = 256 * 1024


def parse_definition(raw: Any, catalogue: NodeCatalogue) -> Plan:
    """Return the plan of a definition.

    Raises:
        InvalidDefinition: with every problem; pointers are relative to the definition.
    """
    _require_size(raw)
    shape, problems = read(DefinitionShape, raw)
    raw_steps = getattr(shape, "steps", [])
    inputs = shape.inputs
    problems += schema_problems(inputs) if inputs is not None else ()
    parsers = [StepParser(position, step, catalogue) for position, step in enumerate(raw_steps)]
    ids = [parser.step_id for parser in parsers]
    problems += _duplicate_ids(ids)
    checker = ReferenceChecker(inputs)
    steps: dict[str, Step] = {}
    for position, parser in enumerate(parsers):
        step = steps[parser.step_id] = parser.parse()
        problems += parser.problems
        problems += checker.check(step, parser.node, parser.at, ids[position:])
        checker.add(parser.step_id, parser.node)
    if problems:
        raise InvalidDefinition(_summary(problems), problems)
    ports = {parser.step_id: parser.node.ports[0] for parser in parsers if parser.node}
    edges = tuple(Edge(source, ports[source], target) for source, target in pairwise(ids))
    return Plan(steps=steps, edges=edges, inputs=inputs, timeout_seconds=shape.timeout_seconds)


class StepParser:
    """Parses one step; what is wrong with it gathers in `problems`."""

    def __init__(self, position: int, raw: Any, catalogue: NodeCatalogue) -> None:
        self.at = pointer("steps", position)
        self.catalogue = catalogue
        self.shape, self.problems = read(StepShape, raw, self.at)
        self.type: str | None = getattr(self.shape, "type", None)
        self.step_id = self.shape.id or f"step_{position + 1}"
        self.node = catalogue.find(self.type) if self.type is not None else None

    def parse(self) -> Step:
        """Return the step; it may be used only when there are no problems."""
        expressions: dict[str, Expression] = {}
        if self.node is not None:
            expressions = self._expressions(self.node)
            if not any(problem.pointer == f"{self.at}/config" for problem in self.problems):
                self._check_config(self.node)
        elif self.type is not None:
            self._unknown_type(self.type)
        config = compile_template(
            {k: v for k, v in self.shape.config.items() if k not in expressions}
        )
        for place, fault in config.faults:
            self._add(f"/config{place}", fault.code, fault.detail)
        return Step(
            id=self.step_id,
            type=self.type or "",
            config=config,
            expressions=expressions,
            retry=RetryPolicy(**self.shape.retry.model_dump())
            if self.shape.retry
            else RetryPolicy(),
            timeout_seconds=self.shape.timeout_seconds,
        )

    def _expressions(self, node: NodeInfo) -> dict[str, Expression]:
        found: dict[str, Expression] = {}
        for field in node.expression_fields:
            source = self.shape.config.get(field)
            if isinstance(source, str):
                try:
                    found[field] = compile_expression(source)
                except ExpressionFault as fault:
                    self._add(pointer("config", field), fault.code, fault.detail)
        return found

    def _check_config(self, node: NodeInfo) -> None:
        for problem in self.catalogue.check_config(node.type, self.shape.config):
            self._add(f"/config{problem.pointer}", problem.code, problem.detail)

    def _unknown_type(self, node_type: str) -> None:
        suggestion = nearest(node_type, self.catalogue.names())
        detail = f"There is no node type {node_type!r}.{suggestion} GET /api/v1/nodes lists all."
        self._add("/type", "unknown_node_type", detail)

    def _add(self, place: str, code: str, detail: str) -> None:
        self.problems.append(Problem(self.at + place, code, detail))


def _require_size(raw: Any) -> None:
    if not isinstance(raw, dict):
        detail = 'A definition is an object such as {"steps": [{"type": "log", "config": {"message": "Hello"}}]}.'
        raise InvalidDefinition(detail, [Problem("", "invalid_value", detail)])
    if len(orjson.dumps(raw)) > MAX_DEFINITION_BYTES:
        detail = f"The definition is larger than {MAX_DEFINITION_BYTES // 1024} KiB: split it into several workflows."
        raise InvalidDefinition(detail, [Problem("", "definition_too_large", detail)])


def _duplicate_ids(ids: list[str]) -> Iterator[Problem]:
    first: dict[str, int] = {}
    for position, step_id in enumerate(ids):
        if step_id in first:
            yield Problem(
                pointer("steps", position, "id"),
                "duplicate_step_id",
                f"The id {step_id!r} is taken by step {first[step_id] + 1}: give each step an id of its own.",
            )
        first.setdefault(step_id, position)


def _summary(problems: list[Problem]) -> str:
    if len(problems) == 1:
        return problems[0].detail
    return f"The definition has {len(problems)} problems; `errors` lists them all."
