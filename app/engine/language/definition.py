"""Parse and check a definition: every problem at once, or a plan."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import orjson

from app.core.errors import InvalidDefinition, Problem
from app.engine.language.catalogue import NodeCatalogue
from app.engine.language.expressions import ExpressionFault
from app.engine.language.expressions.values import described
from app.engine.language.graph import GraphParser
from app.engine.language.input_schema import schema_problems
from app.engine.language.plan import Plan
from app.engine.language.references import Scope
from app.engine.language.shape import MAX_NESTING, MAX_STEPS, DefinitionShape, GraphShape, read
from app.engine.language.steps import StepParser
from app.engine.language.wiring import wire

MAX_DEFINITION_BYTES = 256 * 1024


def parse_definition(raw: Any, catalogue: NodeCatalogue) -> Plan:
    """Return the plan of a definition.

    Raises:
        InvalidDefinition: with every problem; pointers are relative to the definition.
    """
    plan, problems = read_definition(raw, catalogue)
    if problems:
        raise InvalidDefinition(_summary(problems), problems)
    return plan


def read_definition(raw: Any, catalogue: NodeCatalogue) -> tuple[Plan, list[Problem]]:
    """Return the plan of a definition, which may be used only when there are no problems, and the problems.

    Raises:
        InvalidDefinition: it is no object, or too large to be looked at.
    """
    _require_size(raw)
    surface: type[GraphShape] | type[DefinitionShape] = (
        GraphShape if "nodes" in raw else DefinitionShape
    )
    shape, problems = read(surface, raw)
    inputs = shape.inputs
    problems += schema_problems(inputs) if inputs is not None else ()
    if isinstance(shape, GraphShape):
        plan = _parse_graph(shape, catalogue, problems)
    else:
        plan = DefinitionParser(catalogue, problems).parse(shape, inputs or {})
    return replace(plan, inputs=inputs, timeout_seconds=shape.timeout_seconds), problems


def _parse_graph(shape: GraphShape, catalogue: NodeCatalogue, problems: list[Problem]) -> Plan:
    bodies = DefinitionParser(catalogue, problems)
    graph = GraphParser(shape, catalogue, bodies)
    plan = graph.parse(shape.inputs or {})
    problems += graph.problems
    bodies.limit_steps("/nodes")
    return plan


class DefinitionParser:
    """Parses levels of steps: the definition's own, and those of loops."""

    def __init__(self, catalogue: NodeCatalogue, problems: list[Problem]) -> None:
        self._catalogue = catalogue
        self._problems = problems
        self.taken: dict[str, str] = {}
        """Where each id stands: ids are unique over all levels, so that `steps.x` means one step."""

    def parse(self, shape: DefinitionShape, inputs: Mapping[str, Any]) -> Plan:
        """Return the plan; it may be used only when there are no problems."""
        plan = self.level(getattr(shape, "steps", []), "", "", Scope(inputs), depth=1)
        self.limit_steps("/steps")
        return plan

    def limit_steps(self, at: str) -> None:
        """Complain about too many steps, those of all levels counted."""
        if len(self.taken) > MAX_STEPS:
            detail = f"There are {len(self.taken)} steps, those of loops included; at most {MAX_STEPS} are taken."
            self._problems.append(Problem(at, "too_many_steps", detail))

    def level(self, raw_steps: Sequence[Any], at: str, name: str, outer: Scope, depth: int) -> Plan:
        """Return the plan of one level; what is wrong with it is added to the problems."""
        prefix = f"{name}_" if name else ""
        parsers = [
            StepParser(
                raw, f"{at}/steps/{position}", f"{prefix}step_{position + 1}", self._catalogue
            )
            for position, raw in enumerate(raw_steps)
        ]
        for parser in parsers:
            self._take_id(parser)
        wiring = wire(
            [parser.wired for parser in {parser.id: parser for parser in parsers}.values()]
        )
        outputs = {
            **outer.outputs,
            **{parser.id: parser.node.output_schema if parser.node else {} for parser in parsers},
        }
        steps = {}
        for parser in parsers:
            scope = replace(
                outer,
                before=outer.before | wiring.before[parser.id],
                settled=outer.settled | wiring.settled[parser.id],
                certain=outer.certain | wiring.certain[parser.id],
                outputs=outputs,
                own=parser.id,
            )
            body = self.body(parser, scope, depth)
            self.check_references(parser, scope, body)
            self._problems += parser.problems
            steps[parser.id] = parser.step(body)
        self._problems += wiring.problems
        return Plan({step: steps[step] for step in wiring.order}, tuple(wiring.edges))

    def _take_id(self, parser: StepParser) -> None:
        taken = self.taken.setdefault(parser.id, parser.at)
        if taken != parser.at:
            detail = f"The id {parser.id!r} is taken by the step at {taken}: give each step an id of its own."
            parser.complain("/id", "duplicate_step_id", detail)

    def body(self, parser: StepParser, scope: Scope, depth: int) -> Plan | None:
        """Return the plan of a loop's own steps; None for what is no loop."""
        raw = parser.shape.steps
        if not parser.is_loop:
            if raw is not None:
                parser.complain(
                    "/steps",
                    "unknown_field",
                    f"A step of type {parser.type!r} has no steps of its own.",
                )
            return None
        if raw is None:
            if not parser.complained("/steps"):
                parser.complain(
                    "/steps", "missing_field", "A loop needs `steps`: what to do in each iteration."
                )
            return None
        if depth >= MAX_NESTING:
            parser.complain(
                "/steps", "nested_too_deep", f"Loops may be nested {MAX_NESTING - 1} deep."
            )
            return None
        _check_constant_items(parser)
        local = ("item", "index") if ("items",) in parser.expressions else ("index",)
        inner = replace(scope, local=tuple(dict.fromkeys((*scope.local, *local))))
        return self.level(raw, parser.at, parser.id, inner, depth + 1)

    def check_references(self, parser: StepParser, scope: Scope, body: Plan | None) -> None:
        """Check what a step's expressions refer to."""
        for reference, at, names in parser.references():
            place = replace(scope, local=(*scope.local, *names))
            if (
                body is not None
            ):  # a loop's own expressions see its body's latest iteration, if there is one
                place = replace(
                    place, outputs={**place.outputs, **dict.fromkeys(body.steps, _ANYTHING)}
                )
            self._problems += place.problems(reference, at)


def _check_constant_items(parser: StepParser) -> None:
    """Complain about items that are the same in every run, and no list."""
    items = parser.expressions.get(("items",))
    if items is None or items.references:
        return
    try:
        value = items.evaluate({})
    except ExpressionFault as fault:
        parser.complain("/config/items", fault.code, fault.detail)
        return
    if not isinstance(value, list):
        detail = f"`items` must be a list; this is always {described(value)}."
        parser.complain("/config/items", "invalid_value", detail)


_ANYTHING: Mapping[str, Any] = {}


def _require_size(raw: Any) -> None:
    if not isinstance(raw, dict):
        detail = 'A definition is an object such as {"steps": [{"type": "log", "config": {"message": "Hello"}}]}.'
        raise InvalidDefinition(detail, [Problem("", "invalid_value", detail)])
    if len(orjson.dumps(raw)) > MAX_DEFINITION_BYTES:
        detail = f"The definition is larger than {MAX_DEFINITION_BYTES // 1024} KiB: split it into several workflows."
        raise InvalidDefinition(detail, [Problem("", "definition_too_large", detail)])


def _summary(problems: list[Problem]) -> str:
    if len(problems) == 1:
        return problems[0].detail
    return f"The definition has {len(problems)} problems; `errors` lists them all."
