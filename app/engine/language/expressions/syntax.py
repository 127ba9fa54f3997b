"""The tree that the parser makes: plain frozen records."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Literal:
    """A number, a string, true, false or null."""

    value: Any


@dataclass(frozen=True, slots=True)
class ListOf:
    """`[a, b]`."""

    items: tuple["Node", ...]


@dataclass(frozen=True, slots=True)
class MapOf:
    """`{"key": a, other: b}`."""

    entries: tuple[tuple[str, "Node"], ...]


@dataclass(frozen=True, slots=True)
class Field:
    """`.name`, `["name"]` or `[0]`: a key that is known from the source."""

    key: str | int
    optional: bool


@dataclass(frozen=True, slots=True)
class Index:
    """`[expression]`."""

    key: "Node"
    optional: bool


@dataclass(frozen=True, slots=True)
class Method:
    """`.name(arguments)`: a function whose first argument is what stands before the dot."""

    name: str
    arguments: tuple["Node", ...]
    optional: bool
    position: int


@dataclass(frozen=True, slots=True)
class Macro:
    """`.map(x, body)` and its kin: the body is evaluated once per item."""

    name: str
    variable: str
    body: "Node"
    optional: bool


Link = Field | Index | Method | Macro


@dataclass(frozen=True, slots=True)
class Name:
    """A variable."""

    name: str
    position: int


@dataclass(frozen=True, slots=True)
class Chain:
    """A value and what is done to it from left to right: `steps.fetch.output["a b"].size()`."""

    base: "Node"
    links: tuple[Link, ...]


@dataclass(frozen=True, slots=True)
class Call:
    """`name(arguments)`."""

    name: str
    arguments: tuple["Node", ...]
    position: int


@dataclass(frozen=True, slots=True)
class Unary:
    """`!a` or `-a`."""

    operator: str
    operand: "Node"


@dataclass(frozen=True, slots=True)
class Operation:
    """Operators of one precedence from left to right: `a + b - c`."""

    first: "Node"
    rest: tuple[tuple[str, "Node"], ...]


@dataclass(frozen=True, slots=True)
class Logic:
    """`a && b && c` or `a || b || c`."""

    operator: str
    operands: tuple["Node", ...]


@dataclass(frozen=True, slots=True)
class Coalesce:
    """`a ?? b ?? c`: the first that is there and not null."""

    operands: tuple["Node", ...]


@dataclass(frozen=True, slots=True)
class Conditional:
    """`test ? yes : no`."""

    test: "Node"
    yes: "Node"
    no: "Node"


Node = (
    Literal
    | ListOf
    | MapOf
    | Name
    | Chain
    | Call
    | Unary
    | Operation
    | Logic
    | Coalesce
    | Conditional
)
