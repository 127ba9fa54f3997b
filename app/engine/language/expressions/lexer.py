"""Source text to tokens. The patterns are our own and linear; the text is bounded before they see it."""

import re
from math import isfinite
from typing import Any, Final, Literal, NamedTuple

from app.engine.language.expressions.faults import LimitExceeded, SyntaxFault

MAX_SOURCE = 4_096
MAX_TOKENS = 1_024
MAX_INTEGER: Final = 2**63 - 1
MIN_INTEGER: Final = -(2**63)
MAX_NUMBER_TEXT = 400

Kind = Literal["number", "string", "name", "operator", "end"]

STRING = r"""(?:"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')"""
NUMBER = r"(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?"
_TOKEN = re.compile(
    rf"""[ \t\r\n]*(?:
        (?P<number>{NUMBER})
      | (?P<name>[A-Za-z_][A-Za-z0-9_]*)
      | (?P<string>{STRING})
      | (?P<operator>\?\?|\?\.|\?\[|&&|\|\||[=!<>]=|[-+*/%!<>?:.,()\[\]{{}}])
      | (?P<end>\Z)
    )""",
    re.DOTALL | re.VERBOSE,
)
_ESCAPE = re.compile(r"\\(u[0-9a-fA-F]{4}|.)", re.DOTALL)
_ESCAPED = {
    '"': '"',
    "'": "'",
    "\\": "\\",
    "/": "/",
    "b": "\b",
    "f": "\f",
    "n": "\n",
    "r": "\r",
    "t": "\t",
}
_MENDED = {
    "=": "compare with `==`",
    "&": "write `&&` for and",
    "|": "write `||` for or",
    '"': 'close the string with `"`',
    "'": "close the string with `'`",
    "$": "leave out `${{` and `}}` where an expression stands by itself, and quote a `$` that is text",
}


class Token(NamedTuple):
    """A piece of the source: its kind, its value (operators and names: their text) and where it starts."""

    kind: Kind
    value: Any
    position: int


def tokenize(source: str) -> list[Token]:
    """Return the tokens of a source, the last one of kind `end`.

    Raises:
        SyntaxFault: at the first character that starts no token.
        LimitExceeded: when the source is too long, has too many tokens, or a number too large.
    """
    if len(source) > MAX_SOURCE:
        raise LimitExceeded(
            f"The expression has {len(source):,} characters, the limit is {MAX_SOURCE:,}: split it over several steps."
        )
    tokens: list[Token] = []
    position = 0
    while not tokens or tokens[-1].kind != "end":
        match = _TOKEN.match(source, position)
        if match is None:
            raise _unreadable(source, position)
        tokens.append(_token(match))
        position = match.end()
        if len(tokens) > MAX_TOKENS + 1:
            raise LimitExceeded(
                f"The expression has more than {MAX_TOKENS:,} tokens: split it over several steps."
            )
    return tokens


def parse_number(text: str, position: int | None = None) -> int | float:
    """Return the number that a text in JSON's notation stands for.

    Raises:
        LimitExceeded: when it is beyond 64 bits, or beyond what a float holds.
    """
    if len(text) <= MAX_NUMBER_TEXT:
        number = int(text) if text.lstrip("-").isdigit() else float(text)
        if MIN_INTEGER <= number <= MAX_INTEGER or (type(number) is float and isfinite(number)):
            return number
    raise LimitExceeded(
        "A number is too large: integers have 64 bits, and floats must be finite.", position
    )


def _token(match: re.Match[str]) -> Token:
    kind = match.lastgroup or "end"
    text = match[kind]
    position = match.start(kind)
    if kind == "number":
        return Token("number", parse_number(text, position), position)
    if kind == "string":
        return Token("string", _unescape(text[1:-1], position), position)
    if kind == "name":
        return Token("name", text, position)
    return Token("operator" if kind == "operator" else "end", text, position)


def _unescape(body: str, position: int) -> str:
    def decode(match: re.Match[str]) -> str:
        escape = match[1]
        if len(escape) == 5:  # `u` and four digits
            return chr(int(escape[1:], 16))
        if escape not in _ESCAPED:
            raise SyntaxFault(
                f"Unknown escape in the string at position {position}: use those of JSON, a backslash is written \\\\.",
                position,
            )
        return _ESCAPED[escape]

    text = _ESCAPE.sub(decode, body)
    try:
        text = text.encode("utf-16", "surrogatepass").decode("utf-16")
    except UnicodeDecodeError:
        raise SyntaxFault(
            f"The string at position {position} holds half of a surrogate pair: write both halves or the character.",
            position,
        ) from None
    if "\0" in text:
        raise SyntaxFault(
            f"The string at position {position} holds a NUL character: leave it out.", position
        )
    return text


def _unreadable(source: str, position: int) -> SyntaxFault:
    at = position + len(source[position:]) - len(source[position:].lstrip(" \t\r\n"))
    character = source[at]
    advice = _MENDED.get(character, "quote it if it is text")
    return SyntaxFault(f"Unexpected {character!r} at position {at}: {advice}.", at)
