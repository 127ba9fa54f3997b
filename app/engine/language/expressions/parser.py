"""Tokens to a tree: recursive descent with precedence climbing, bounded in depth.

expression := binary [ "?" expression ":" expression ]
binary     := operand { operator operand }                  by LEVELS
operand    := unary { "??" unary }                          not beside another operator without parentheses
unary      := ( "!" | "-" ) unary | postfix
postfix    := primary { "." name [ "(" … ")" ] | "[" expression "]" }    `?.`, `?.[` and `?[` are optional
primary    := literal | name [ "(" … ")" ] | "(" expression ")" | "[" … "]" | "{" … "}"
"""

from app.engine.language.expressions.faults import LimitExceeded, SyntaxFault
from app.engine.language.expressions.lexer import Token, tokenize
from app.engine.language.expressions.syntax import (
    Call,
    Chain,
    Coalesce,
    Conditional,
    Field,
    Index,
    Link,
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

MAX_DEPTH = 40
MACROS = ("all", "exists", "filter", "map", "sort_by")

_LOWEST = 1
_LOGIC_LEVEL = 2
_LEVELS = {
    "||": 1, "&&": 2, "==": 3, "!=": 3, "<": 4, "<=": 4, ">": 4, ">=": 4, "in": 4, "+": 5, "-": 5, "*": 6, "/": 6, "%": 6,
}  # fmt: skip
_CONSTANTS = {"true": True, "false": False, "null": None}


def parse(source: str) -> Node:
    """Return the tree of a source.

    Raises:
        SyntaxFault: it does not parse; with the position.
        LimitExceeded: it is too long or nested too deeply.
    """
    return _Parser(tokenize(source)).parse()


class _Parser:
    def __init__(self, tokens: list[Token]) -> None:
        self._tokens = tokens
        self._at = 0
        self._depth = 0

    def parse(self) -> Node:
        if self._at_end():
            raise SyntaxFault("The expression is empty: write one, such as `input.total > 100`.", 0)
        node = self._expression()
        if not self._at_end():
            raise self._unexpected("an operator or the end")
        return node

    @property
    def _token(self) -> Token:
        return self._tokens[self._at]

    def _at_end(self) -> bool:
        return self._token.kind == "end"

    def _take(self) -> Token:
        token = self._tokens[self._at]
        self._at += 1
        return token

    def _sees(self, *operators: str) -> bool:
        token = self._token
        return token.kind == "operator" and token.value in operators

    def _accept(self, *operators: str) -> bool:
        if self._sees(*operators):
            self._at += 1
            return True
        return False

    def _expect(self, operator: str) -> None:
        if not self._accept(operator):
            raise self._unexpected(f"`{operator}`")

    def _expect_name(self, what: str) -> Token:
        if self._token.kind != "name":
            raise self._unexpected(what)
        return self._take()

    def _unexpected(self, wanted: str) -> SyntaxFault:
        token = self._token
        if token.kind == "end":
            return SyntaxFault(
                f"The expression ends at position {token.position} where {wanted} is expected.",
                token.position,
            )
        found = "a string" if token.kind == "string" else f"`{token.value}`"
        return SyntaxFault(
            f"Expected {wanted} at position {token.position}, found {found}.", token.position
        )

    def _deeper(self) -> None:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise LimitExceeded(
                f"The expression is nested deeper than {MAX_DEPTH} levels: split it over several steps.",
                self._token.position,
            )

    def _expression(self) -> Node:
        self._deeper()
        node = self._binary(_LOWEST)
        if self._accept("?"):
            yes = self._expression()
            self._expect(":")
            node = Conditional(node, yes, self._expression())
        self._depth -= 1
        return node

    def _level(self) -> int:
        token = self._token
        return _LEVELS.get(token.value, 0) if token.kind in {"operator", "name"} else 0

    def _binary(self, lowest: int) -> Node:
        left = self._operand(alone=lowest == _LOWEST)
        while (level := self._level()) >= lowest:
            left = self._operation(left, level)
        return left

    def _operation(self, first: Node, level: int) -> Node:
        rest: list[tuple[str, Node]] = []
        while self._level() == level:
            operator = self._take().value
            rest.append((operator, self._binary(level + 1)))
        if level <= _LOGIC_LEVEL:
            return Logic(rest[0][0], (first, *(operand for _, operand in rest)))
        return Operation(first, tuple(rest))

    def _operand(self, *, alone: bool) -> Node:
        operands = [self._unary()]
        position = self._token.position
        while self._accept("??"):
            operands.append(self._unary())
        if len(operands) == 1:
            return operands[0]
        if not alone or self._level():
            raise SyntaxFault(
                f"Put parentheses around the part with `??` at position {position}, such as `(a ?? 0) > 3`.",
                position,
            )
        return Coalesce(tuple(operands))

    def _unary(self) -> Node:
        if not self._sees("!", "-"):
            return self._postfix()
        operator = self._take().value
        self._deeper()
        operand = self._unary()
        self._depth -= 1
        if operator == "-" and isinstance(operand, Literal) and type(operand.value) in {int, float}:
            return Literal(-operand.value)
        return Unary(operator, operand)

    def _postfix(self) -> Node:
        base = self._primary()
        links: list[Link] = []
        while self._sees(".", "?.", "[", "?["):
            links.append(self._link())
        return Chain(base, tuple(links)) if links else base

    def _link(self) -> Link:
        opening = self._take().value
        optional = opening.startswith("?")
        if opening in {"[", "?["} or (opening == "?." and self._accept("[")):
            return self._index(optional=optional)
        name = self._expect_name("a name")
        if not self._accept("("):
            return Field(name.value, optional)
        if name.value in MACROS:
            return self._macro(name, optional=optional)
        return Method(name.value, self._list_until(")"), optional, name.position)

    def _index(self, *, optional: bool) -> Link:
        key = self._expression()
        self._expect("]")
        if isinstance(key, Literal) and type(key.value) in {int, str}:
            return Field(key.value, optional)
        return Index(key, optional)

    def _macro(self, name: Token, *, optional: bool) -> Macro:
        variable = self._token
        if variable.kind != "name" or variable.value in _CONSTANTS:
            raise self._unexpected(f"a name for the item, as in `.{name.value}(x, …)`,")
        self._at += 1
        self._expect(",")
        body = self._expression()
        self._expect(")")
        return Macro(name.value, variable.value, body, optional)

    def _primary(self) -> Node:
        token = self._token
        if token.kind in {"number", "string"}:
            return Literal(self._take().value)
        if token.kind == "name" and token.value != "in":
            return self._name()
        if self._accept("("):
            node = self._expression()
            self._expect(")")
            return node
        if self._accept("["):
            return ListOf(self._list_until("]"))
        if self._accept("{"):
            return self._map()
        raise self._unexpected("a value")

    def _name(self) -> Node:
        token = self._take()
        if token.value in _CONSTANTS:
            return Literal(_CONSTANTS[token.value])
        if self._accept("("):
            return Call(token.value, self._list_until(")"), token.position)
        return Name(token.value, token.position)

    def _list_until(self, closing: str) -> tuple[Node, ...]:
        items: list[Node] = []
        if not self._accept(closing):
            items.append(self._expression())
            while self._accept(","):
                items.append(self._expression())
            self._expect(closing)
        return tuple(items)

    def _map(self) -> MapOf:
        entries: list[tuple[str, Node]] = []
        if not self._accept("}"):
            entries.append(self._entry())
            while self._accept(","):
                entries.append(self._entry())
            self._expect("}")
        return MapOf(tuple(entries))

    def _entry(self) -> tuple[str, Node]:
        if self._token.kind not in {"string", "name"}:
            raise self._unexpected("a key (a name or a string)")
        key = self._take().value
        self._expect(":")
        return key, self._expression()
