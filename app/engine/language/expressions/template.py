"""Templates: a JSON value whose strings may hold `${{ … }}`. One pass; what data says is never evaluated.

A string that is one expression keeps the value's type; inside text it is rendered. `$${{` stands for a literal `${{`.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any

from app.engine.language.expressions.budget import Frame
from app.engine.language.expressions.compiler import Reference
from app.engine.language.expressions.expression import Expression, compile_expression
from app.engine.language.expressions.faults import ExpressionFault, LimitExceeded, SyntaxFault
from app.engine.language.expressions.lexer import MAX_SOURCE
from app.engine.language.expressions.values import export, to_text

MAX_TEMPLATE_DEPTH = 64

_OPENING = re.compile(r"\$?\$\{\{")
_ESCAPED_OPENING = "$${{"
# An open string swallows the rest, so that the search is linear.
_INSIDE = re.compile(
    r"""\"(?:[^"\\]|\\.)*(?:"|\\?\Z)|'(?:[^'\\]|\\.)*(?:'|\\?\Z)|[{}]""", re.DOTALL
)

Render = Callable[[Frame], Any]
Piece = str | Expression


class Template:
    """A compiled config value.

    `expressions`, `references` and `faults` carry the JSON pointer of the string that they stand in; a template with faults
    cannot be rendered.
    """

    __slots__ = ("_render", "expressions", "faults", "is_static")

    expressions: tuple[tuple[str, Expression], ...]
    faults: tuple[tuple[str, ExpressionFault], ...]
    is_static: bool

    def __init__(self, value: Any) -> None:
        compiler = _Compiler()
        self._render = compiler.value(value, "")
        self.expressions = tuple(compiler.expressions)
        self.faults = tuple(compiler.faults)
        self.is_static = compiler.is_static

    @property
    def references(self) -> tuple[tuple[str, Reference], ...]:
        """Return what the expressions refer to."""
        return tuple(
            (pointer, reference)
            for pointer, expression in self.expressions
            for reference in expression.references
        )

    def render(self, scope: Mapping[str, Any]) -> Any:
        """Return the value with its expressions evaluated, all under one budget, as JSON that shares nothing.

        Raises:
            ExpressionFault: the first that fails; its detail names the JSON pointer.
        """
        for pointer, fault in self.faults:
            raise fault.at(pointer)
        return self._render(Frame(scope))


def compile_template(value: Any) -> Template:
    """Return the template of any JSON value; what is broken in it is listed in its `faults`."""
    return Template(value)


class _Compiler:
    def __init__(self) -> None:
        self.expressions: list[tuple[str, Expression]] = []
        self.faults: list[tuple[str, ExpressionFault]] = []
        self.is_static = True

    def value(self, value: Any, pointer: str, depth: int = 0) -> Render:
        if isinstance(value, str):
            return self._text(value, pointer)
        if not isinstance(value, dict | list):
            return lambda _frame: value
        if depth > MAX_TEMPLATE_DEPTH:
            fault = LimitExceeded(f"The value is nested deeper than {MAX_TEMPLATE_DEPTH} levels.")
            self.faults.append((pointer, fault))
            return lambda _frame: None
        if isinstance(value, dict):
            entries = [
                (key, self.value(item, f"{pointer}/{_escaped(key)}", depth + 1))
                for key, item in value.items()
            ]
            return lambda frame: {key: render(frame) for key, render in entries}
        items = [self.value(item, f"{pointer}/{at}", depth + 1) for at, item in enumerate(value)]
        return lambda frame: [render(frame) for render in items]

    def _text(self, text: str, pointer: str) -> Render:
        pieces = self._pieces(text, pointer)
        for piece in pieces:
            if isinstance(piece, Expression):
                self.expressions.append((pointer, piece))
        if len(pieces) == 1 and isinstance(pieces[0], Expression):
            return _typed(pieces[0], pointer)
        return _rendered(pieces, pointer)

    def _pieces(self, text: str, pointer: str) -> list[Piece]:
        pieces: list[Piece] = []
        literal, at = "", 0
        while (opening := _OPENING.search(text, at)) is not None:
            literal += text[at : opening.start()]
            at = opening.end()
            if opening[0] == _ESCAPED_OPENING:
                literal += opening[0][1:]
                continue
            self.is_static = False
            end = _end_of_expression(text, at)
            if end is None:
                self.faults.append((pointer, _unclosed(opening.start())))
                return []
            pieces += [literal] if literal else []
            pieces += self._expression(text[at:end], pointer)
            literal, at = "", end + 2
        literal += text[at:]
        return [*pieces, literal] if literal else pieces

    def _expression(self, source: str, pointer: str) -> list[Piece]:
        try:
            return [compile_expression(source.strip())]
        except ExpressionFault as fault:
            self.faults.append((pointer, fault))
            return []


def _end_of_expression(text: str, start: int) -> int | None:
    """Return where the `}}` stands that closes an expression; braces of maps and in strings do not count."""
    open_maps = 0
    for match in _INSIDE.finditer(text, start, start + MAX_SOURCE + 2):
        if match[0] == "{":
            open_maps += 1
        elif match[0] == "}" and open_maps:
            open_maps -= 1
        elif match[0] == "}" and text.startswith("}}", match.start()):
            return match.start()
    return None


def _typed(expression: Expression, pointer: str) -> Render:
    def render(frame: Frame) -> Any:
        try:
            return export(expression.value(frame), frame.emit)
        except ExpressionFault as fault:
            raise fault.at(pointer) from None

    return render


def _rendered(pieces: list[Piece], pointer: str) -> Render:
    def render(frame: Frame) -> str:
        try:
            return "".join(
                [
                    piece if isinstance(piece, str) else to_text(piece.value(frame), frame.emit)
                    for piece in pieces
                ]
            )
        except ExpressionFault as fault:
            raise fault.at(pointer) from None

    return render


def _escaped(key: str) -> str:
    return key.replace("~", "~0").replace("/", "~1")


def _unclosed(position: int) -> SyntaxFault:
    return SyntaxFault(
        f"The expression that starts at position {position} is not closed: close its strings and brackets, end it with `}}}}`, "
        "or write `$${{` for a literal `${{`.",
        position,
    )
