"""The graph surface: nodes and edges, with cycles. Edges that lead back to a step before are told from the others."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Protocol

from app.core.errors import Problem
from app.engine.language.catalogue import NodeCatalogue
from app.engine.language.expressions import Expression, ExpressionFault, compile_expression
from app.engine.language.plan import ANY_PORT, Edge, Plan
from app.engine.language.problems import nearest
from app.engine.language.references import Scope
from app.engine.language.shape import EdgeShape, GraphShape, read
from app.engine.language.steps import StepParser
from app.engine.language.wiring import ENGINE_PORTS, Wiring, look_back


class Bodies(Protocol):
    """Parses what loops do in each iteration: lists of steps, on this surface as on the other."""

    taken: dict[str, str]
    """Where each id stands."""

    def body(self, parser: StepParser, scope: Scope, depth: int) -> Plan | None:
        """Return the plan of a loop's own steps; None for what is no loop."""
        ...

    def check_references(self, parser: StepParser, scope: Scope, body: Plan | None) -> None:
        """Check what a step's expressions refer to."""
        ...


class GraphParser:
    """Parses nodes and edges; what is wrong with them gathers in `problems`."""

    def __init__(self, shape: GraphShape, catalogue: NodeCatalogue, bodies: Bodies) -> None:
        self.problems: list[Problem] = []
        self._bodies = bodies
        self._start: str | None = getattr(shape, "start_node", None)
        self._parsers: dict[str, StepParser] = {}
        self._edges: dict[Edge, str] = {}
        for position, raw in enumerate(getattr(shape, "nodes", ())):
            self._add_node(raw, f"/nodes/{position}", catalogue)
        # Without a list of nodes that can be read, every edge would seem to lead nowhere.
        for position, raw in enumerate(getattr(shape, "edges", ()) if self._parsers else ()):
            self._add_edge(raw, f"/edges/{position}")

    def parse(self, inputs: Mapping[str, Any]) -> Plan:
        """Return the plan; it may be used only when there are no problems."""
        onward, back = self._tell_apart()
        wiring = look_back(onward, [parser.wired for parser in self._parsers.values()])
        self._find_unreachable()
        outputs = {
            name: parser.node.output_schema if parser.node else {}
            for name, parser in self._parsers.items()
        }
        steps = {}
        for name, parser in self._parsers.items():
            scope = self._scope(name, wiring, Scope(inputs, outputs=outputs))
            body = self._bodies.body(parser, scope, 1)
            self._bodies.check_references(parser, scope, body)
            self.problems += parser.problems
            steps[name] = parser.step(body)
        self._check_conditions(wiring, Scope(inputs, outputs=outputs))
        steps = {name: steps[name] for name in wiring.order}
        return Plan(steps, tuple(onward), tuple(back))

    def _add_node(self, raw: Any, at: str, catalogue: NodeCatalogue) -> None:
        alias = isinstance(raw, Mapping) and "function" in raw and "type" not in raw
        if alias:
            raw = {("type" if name == "function" else name): value for name, value in raw.items()}
        parser = StepParser(
            raw,
            at,
            at.removeprefix("/").replace("/", "_"),
            catalogue,
            "function" if alias else "type",
        )
        if parser.shape.id is None and not any(
            problem.pointer == f"{at}/id" for problem in parser.problems
        ):
            parser.complain(
                "/id", "missing_field", "The field 'id' is required: edges refer to it."
            )
        if parser.shape.depends_on is not None:
            parser.complain(
                "/depends_on", "unknown_field", "In a graph, edges take the place of 'depends_on'."
            )
        if parser.id in self._parsers:
            detail = f"The id {parser.id!r} is taken by the node at {self._parsers[parser.id].at}: give each one its own."
            self.problems.append(Problem(f"{at}/id", "duplicate_step_id", detail))
        self._parsers.setdefault(parser.id, parser)
        self._bodies.taken.setdefault(parser.id, parser.at)

    def _add_edge(self, raw: Any, at: str) -> None:
        shape, problems = read(EdgeShape, raw, at)
        if problems:
            self.problems += problems
            return
        unknown = [
            (field, name)
            for field, name in (("source", shape.source), ("target", shape.target))
            if name not in self._parsers
        ]
        for field, name in unknown:
            detail = f"There is no node {name!r}.{nearest(name, self._parsers)}"
            self.problems.append(Problem(f"{at}/{field}", "unknown_step", detail))
        if unknown:
            return
        self._check_port(shape, at)
        edge = Edge(
            shape.source, shape.port or ANY_PORT, shape.target, self._condition(shape.condition, at)
        )
        if edge in self._edges:
            detail = f"The edge at {self._edges[edge]} is the same: remove one, or join their conditions with `||`."
            self.problems.append(Problem(at, "duplicate_edge", detail))
        self._edges.setdefault(edge, at)

    def _check_port(self, shape: EdgeShape, at: str) -> None:
        ports = self._parsers[shape.source].wired.ports
        if shape.port is None or ports is None or shape.port in (*ports, *ENGINE_PORTS):
            return
        names = (*ports, *ENGINE_PORTS)
        detail = f"The node {shape.source!r} has no port {shape.port!r}.{nearest(shape.port, names)} It has: {', '.join(names)}."
        self.problems.append(Problem(f"{at}/port", "unknown_port", detail))

    def _condition(self, source: str | None, at: str) -> Expression | None:
        if source is None:
            return None
        try:
            return compile_expression(source)
        except ExpressionFault as fault:
            self.problems.append(Problem(f"{at}/condition", fault.code, fault.detail))
            return None

    def _tell_apart(self) -> tuple[list[Edge], list[Edge]]:
        """Return the edges that lead onward and those that lead back, by a depth-first search from the start."""
        leaving: dict[str, list[Edge]] = {name: [] for name in self._parsers}
        for edge in self._edges:
            leaving[edge.source].append(edge)
        back: set[Edge] = set()
        done: set[str] = set()
        roots = [self._start] if self._start in self._parsers else []
        for root in (*roots, *self._parsers):
            back.update(_leading_back(root, leaving, done))
        return [edge for edge in self._edges if edge not in back], [
            edge for edge in self._edges if edge in back
        ]

    def _find_unreachable(self) -> None:
        if self._start is None or not self._parsers:
            return
        if self._start not in self._parsers:
            detail = f"There is no node {self._start!r}.{nearest(self._start, self._parsers)}"
            self.problems.append(Problem("/start_node", "unknown_step", detail))
            return
        reached, front = {self._start}, [self._start]
        while front:
            source = front.pop()
            fresh = {edge.target for edge in self._edges if edge.source == source} - reached
            reached |= fresh
            front += fresh
        for name, parser in self._parsers.items():
            if name not in reached:
                detail = f"No way leads from {self._start!r} to {name!r}: add an edge to it, or remove it."
                self.problems.append(Problem(parser.at, "unreachable", detail))

    def _scope(self, name: str, wiring: Wiring, scope: Scope) -> Scope:
        return replace(
            scope,
            before=self._ever_before(name),
            settled=wiring.settled[name],
            certain=wiring.certain[name],
            own=name,
        )

    def _ever_before(self, name: str) -> frozenset[str]:
        """Return the steps that may have run before one, in this iteration of a cycle or an earlier one."""
        found: set[str] = set()
        front = [name]
        while front:
            target = front.pop()
            fresh = {edge.source for edge in self._edges if edge.target == target} - found
            found |= fresh
            front += fresh
        return frozenset(found)

    def _check_conditions(self, wiring: Wiring, scope: Scope) -> None:
        for edge, at in self._edges.items():
            if edge.condition is None:
                continue
            here = self._scope(edge.source, wiring, scope)
            own = frozenset({edge.source})
            succeeded = own if edge.port not in ENGINE_PORTS else frozenset()
            here = replace(
                here,
                before=here.before | own,
                settled=here.settled | own,
                certain=here.certain | succeeded,
            )
            for reference in edge.condition.references:
                self.problems += here.problems(reference, f"{at}/condition")


def _leading_back(
    root: str, leaving: Mapping[str, Sequence[Edge]], done: set[str]
) -> Iterator[Edge]:
    """Yield the edges to a step that the search is still inside of."""
    inside: Counter[str] = Counter()
    stack = [(root, iter(leaving[root]))] if root not in done else []
    inside[root] += 1
    while stack:
        name, edges = stack[-1]
        edge = next(edges, None)
        if edge is None:
            stack.pop()
            inside[name] = 0
            done.add(name)
        elif inside[edge.target]:
            yield edge
        elif edge.target not in done:
            inside[edge.target] += 1
            stack.append((edge.target, iter(leaving[edge.target])))
