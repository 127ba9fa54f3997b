"""Parse and check a definition: every problem at once, or a plan."""

from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import orjson
from pydantic import ValidationError

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
from app.engine.language.problems import from_validation, nearest, pointer
from app.engine.language.references import ReferenceChecker
from app.engine.language.shape import DefinitionShape, StepShape

MAX_DEFINITION_BYTES = 256 * 1024


def parse_definition(raw: Any, catalogue: NodeCatalogue) -> Plan:
    """Return the plan of a definition.

    Raises:
        InvalidDefinition: with every problem; pointers are relative to the definition.
    """
    shape = _shape(raw)
    ids = [step.id or f"step_{position}" for position, step in enumerate(shape.steps, 1)]
    problems = [
        *_duplicate_ids(ids),
        *(schema_problems(shape.inputs) if shape.inputs is not None else ()),
    ]
    checker = ReferenceChecker(shape.inputs)
    steps: dict[str, Step] = {}
    ports: dict[str, str] = {}
    for position, (step_id, step_shape) in enumerate(zip(ids, shape.steps, strict=True)):
        parser = StepParser(step_id, step_shape, pointer("steps", position), catalogue)
        steps[step_id] = parser.parse()
        problems += parser.problems
        problems += checker.check(steps[step_id], parser.node, parser.at, ids[position:])
        checker.add(step_id, parser.node)
        ports[step_id] = parser.node.ports[0] if parser.node else ""
    if problems:
        raise InvalidDefinition(_summary(problems), problems)
    edges = tuple(Edge(source, ports[source], target) for source, target in pairwise(ids))
    return Plan(
        steps=steps, edges=edges, inputs=shape.inputs, timeout_seconds=shape.timeout_seconds
    )


class StepParser:
    """Parses one step; what is wrong with it gathers in `problems`."""

    def __init__(self, step_id: str, shape: StepShape, at: str, catalogue: NodeCatalogue) -> None:
        self.step_id, self.shape, self.at, self.catalogue = step_id, shape, at, catalogue
        self.node = catalogue.find(shape.type)
        self.problems: list[Problem] = []

    def parse(self) -> Step:
        """Return the step; it may be used only when there are no problems."""
        expressions: dict[str, Expression] = {}
        if self.node is None:
            self._unknown_type()
        else:
            expressions = self._expressions(self.node)
            self._check_config()
        config = compile_template(
            {k: v for k, v in self.shape.config.items() if k not in expressions}
        )
        for place, fault in config.faults:
            self._add(f"/config{place}", fault.code, fault.detail)
        return Step(
            id=self.step_id,
            type=self.shape.type,
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

    def _check_config(self) -> None:
        for problem in self.catalogue.check_config(self.shape.type, self.shape.config):
            self._add(f"/config{problem.pointer}", problem.code, problem.detail)

    def _unknown_type(self) -> None:
        names = self.catalogue.names()
        detail = f"There is no node type {self.shape.type!r}.{nearest(self.shape.type, names)} GET /api/v1/nodes lists all."
        self._add("/type", "unknown_node_type", detail)

    def _add(self, place: str, code: str, detail: str) -> None:
        self.problems.append(Problem(self.at + place, code, detail))


def _shape(raw: Any) -> DefinitionShape:
    if len(orjson.dumps(raw)) > MAX_DEFINITION_BYTES:
        detail = f"The definition is larger than {MAX_DEFINITION_BYTES // 1024} KiB: split it into several workflows."
        raise InvalidDefinition(detail, [Problem("", "definition_too_large", detail)])
    if not isinstance(raw, dict):
        detail = 'A definition is an object such as {"steps": [{"type": "log", "config": {"message": "Hello"}}]}.'
        raise InvalidDefinition(detail, [Problem("", "invalid_value", detail)])
    try:
        return DefinitionShape.model_validate(raw)
    except ValidationError as error:
        problems = from_validation(error, DefinitionShape, raw)
        raise InvalidDefinition(_summary(problems), problems) from None


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
