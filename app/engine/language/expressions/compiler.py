"""The tree to closures: each node becomes a function of the frame. Collects the references on the way."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from app.engine.language.expressions import access, functions, macros, operators, patterns
from app.engine.language.expressions.access import Link, Run
from app.engine.language.expressions.budget import Budget, Frame
from app.engine.language.expressions.faults import LimitExceeded
from app.engine.language.expressions.parser import MAX_DEPTH
from app.engine.language.expressions.syntax import (
    Call,
    Chain,
    Coalesce,
    Conditional,
    Field,
    Index,
    ListOf,
    Literal,
    Logic,
    Macro,
    MapOf,
    Method,
    Name,
    Node,
    Operation,
    Unary,
)
from app.engine.language.expressions.syntax import Link as LinkNode


@dataclass(frozen=True)
class Reference:
    """A variable that an expression reads, with the part of the path that the source fixes.

    `optional`: the expression copes when it is not there, by `?.`, `?[` or `??`.
    """

    path: tuple[str | int, ...]
    optional: bool = False


@dataclass(frozen=True, slots=True)
class Program:
    """What a source compiles to: the closure, how many variables its macros bind at once, and what it reads."""

    run: Run
    variables: int
    references: tuple[Reference, ...]


def compile_tree(tree: Node) -> Program:
    """Return the program of a tree.

    Raises:
        ExpressionFault: unknown function, wrong number of arguments, a pattern that RE2 refuses, or too deep a tree.
    """
    compiler = _Compiler()
    run = compiler.node(tree)
    return Program(run, compiler.most_variables, tuple(compiler.references))


class _Compiler:
    def __init__(self) -> None:
        self.references: dict[Reference, None] = {}
        self.most_variables = 0
        self._slots: Mapping[str, int] = {}
        self._bound = 0
        self._nodes = 0
        self._depth = 0
        self._budget = Budget()

    def node(self, node: Node) -> Run:
        self._nodes += 1
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise LimitExceeded(
                f"The expression is nested deeper than {MAX_DEPTH} levels: split it over several steps."
            )
        run = self._closure(node)
        self._depth -= 1
        return run

    def _closure(self, node: Node) -> Run:  # noqa: C901, PLR0911 - one line for each kind of node
        match node:
            case Literal(value):
                return _constant(value)
            case Name() | Chain():
                return self._chain(node, lenient=False)
            case Operation(first, rest):
                return operators.operation(
                    self.node(first),
                    tuple((symbol, self.node(operand)) for symbol, operand in rest),
                )
            case Logic(symbol, operands):
                join = operators.conjunction if symbol == "&&" else operators.disjunction
                return join(self._nodes_of(operands))
            case Unary(symbol, operand):
                turn = operators.negation if symbol == "!" else operators.minus
                return turn(self.node(operand))
            case Coalesce(operands):
                lenient = (self._lenient(operand) for operand in operands[:-1])
                return operators.coalesce((*lenient, self.node(operands[-1])))
            case Conditional(test, yes, no):
                return operators.conditional(self.node(test), self.node(yes), self.node(no))
            case Call(name, arguments, position):
                return self._call(name, arguments, position)
            case ListOf(items):
                return _list_of(self._nodes_of(items), items)
            case MapOf(entries):  # pragma: no branch - there is no other
                return _map_of(tuple((key, self.node(value)) for key, value in entries))

    def _nodes_of(self, nodes: tuple[Node, ...]) -> tuple[Run, ...]:
        return tuple(self.node(node) for node in nodes)

    def _call(self, name: str, arguments: tuple[Node, ...], position: int) -> Run:
        function = functions.function_named(name, len(arguments), position)
        self._check_pattern(name, arguments)
        return functions.call(function, self._nodes_of(arguments))

    def _check_pattern(self, name: str, arguments: tuple[Node, ...]) -> None:
        """Refuse a pattern that RE2 does not take when the expression is saved, not when it runs."""
        match arguments:
            case (_, Literal(str() as pattern)) if name == "matches":
                patterns.compiled(pattern, self._budget)
            case _:
                pass

    def _lenient(self, node: Node) -> Run:
        return (
            self._chain(node, lenient=True) if isinstance(node, Name | Chain) else self.node(node)
        )

    def _chain(self, node: Name | Chain, *, lenient: bool) -> Run:
        chain = node if isinstance(node, Chain) else Chain(node, ())
        if not isinstance(chain.base, Name):
            return access.chain(
                self.node(chain.base), self._links(chain.links, "…", lenient=lenient)
            )
        name = chain.base.name
        if name in self._slots:
            base, links = access.local(self._slots[name]), chain.links
            label = name
        else:
            self._refer(name, chain.links, lenient=lenient)
            base, links, label = self._read(name, chain.links, lenient=lenient)
        if not links:
            return base
        return access.chain(base, self._links(links, label, lenient=lenient))

    def _read(
        self, name: str, links: tuple[LinkNode, ...], *, lenient: bool
    ) -> tuple[Run, tuple[LinkNode, ...], str]:
        """Return the reader of the leading part of a path that is plain names, the links left, and their label."""
        keys: list[str] = []
        label = name
        for link in () if lenient else links:
            if not isinstance(link, Field) or link.optional or isinstance(link.key, int):
                break
            keys.append(link.key)
            label = access.label_of(label, link.key)
        base = access.path((name, *keys)) if keys else access.variable(name)
        return base, links[len(keys) :], label

    def _refer(self, name: str, links: tuple[LinkNode, ...], *, lenient: bool) -> None:
        path: list[str | int] = [name]
        for link in links:
            if not isinstance(link, Field):
                break
            path.append(link.key)
        optional = lenient or any(link.optional for link in links)
        self.references[Reference(tuple(path), optional)] = None

    def _links(self, links: tuple[LinkNode, ...], label: str, *, lenient: bool) -> tuple[Link, ...]:
        made: list[Link] = []
        for link in links:
            self._nodes += 1
            made.append(self._link(link, label, optional=lenient or link.optional))
            label = access.label_of(label, link.key) if isinstance(link, Field) else f"{label}[…]"
        return tuple(made)

    def _link(self, link: LinkNode, label: str, *, optional: bool) -> Link:
        match link:
            case Field(key):
                return access.field(key, label, optional=optional)
            case Index(key):
                return access.index(self.node(key), label, optional=optional)
            case Method(name, arguments, _, position):
                function = functions.function_named(name, len(arguments) + 1, position)
                self._check_pattern(name, (Literal(None), *arguments))
                return functions.method(function, self._nodes_of(arguments), optional=optional)
            case Macro(name, variable, body):  # pragma: no branch - there is no other
                with self._binding(variable) as slot:
                    before = self._nodes
                    run = self.node(body)
                return macros.macro(
                    name, macros.Body(run, slot, self._nodes - before), optional=optional
                )

    @contextmanager
    def _binding(self, variable: str) -> Iterator[int]:
        outer, slot = self._slots, self._bound
        self._slots = {**outer, variable: slot}
        self._bound += 1
        self.most_variables = max(self.most_variables, self._bound)
        yield slot
        self._slots, self._bound = outer, slot


def _constant(value: Any) -> Run:
    return lambda _frame: value


def _list_of(runs: tuple[Run, ...], items: tuple[Node, ...]) -> Run:
    if all(isinstance(item, Literal) for item in items):
        return _constant([item.value for item in items if isinstance(item, Literal)])

    def run(frame: Frame) -> list[Any]:
        return [item(frame) for item in runs]

    return run


def _map_of(entries: tuple[tuple[str, Run], ...]) -> Run:
    def run(frame: Frame) -> dict[str, Any]:
        return {key: value(frame) for key, value in entries}

    return run
