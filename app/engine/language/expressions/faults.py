"""Why an expression cannot be used: one class per cause, each with a stable code.

    ExpressionFault
    ├── SyntaxFault       expression_syntax   the text does not parse
    ├── UnknownName       unknown_name        no variable of that name here
    ├── UnknownPath       unknown_path        the data has nothing under that path
    ├── UnknownFunction   unknown_function    not in the table
    ├── TypeMismatch      type_mismatch       an operator or a function got a value that it cannot take
    ├── InvalidValue      invalid_value       the type is right, the value is not: division by zero, "no date"
    └── LimitExceeded     limit_exceeded      too long, too deep, too much work

No message quotes a value of the data, for it may be a secret: names, types and positions only.
"""

from collections.abc import Iterable
from difflib import get_close_matches
from typing import Self

from app.core.errors import ExpressionError

LISTED_NAMES = 12
COMPARED_NAMES = 200
LONGEST_NAME = 60


class ExpressionFault(ExpressionError):
    """The expression cannot be used.

    `position` is the offset in the source, where one is known.
    """

    def __init__(self, detail: str | None = None, position: int | None = None) -> None:
        super().__init__(detail)
        self.position = position

    def at(self, pointer: str) -> Self:
        """Return the same fault, its detail naming the JSON pointer of the string that it stands in."""
        return type(self)(f"At {pointer or 'the top'}: {self.detail}", self.position)


class SyntaxFault(ExpressionFault):
    """The expression does not parse."""

    code = "expression_syntax"


class UnknownName(ExpressionFault):
    """There is no variable of this name."""

    code = "unknown_name"


class UnknownPath(ExpressionFault):
    """The data has nothing under this path."""

    code = "unknown_path"


class UnknownFunction(ExpressionFault):
    """There is no function of this name."""

    code = "unknown_function"


class TypeMismatch(ExpressionFault):
    """A value has a type that does not fit here."""

    code = "type_mismatch"


class InvalidValue(ExpressionFault):
    """A value does not fit here."""

    code = "invalid_value"


class LimitExceeded(ExpressionFault):
    """The expression is too large or does too much work."""

    code = "limit_exceeded"


def nearest(name: str, names: Iterable[str]) -> str:
    """Return ` Did you mean `x`?`, or nothing when no name is near; looks at a bounded number of names."""
    pool = [known for known in _first(names, COMPARED_NAMES) if len(known) <= LONGEST_NAME]
    found = get_close_matches(name[:LONGEST_NAME], pool, n=1)
    return f" Did you mean `{found[0]}`?" if found else ""


def listing(names: Iterable[str]) -> str:
    """Return a bounded list of names for a message."""
    shown = _first(names, LISTED_NAMES + 1)
    cut = [name if len(name) <= LONGEST_NAME else name[:LONGEST_NAME] + "…" for name in shown]
    return ", ".join(cut[:LISTED_NAMES]) + (", …" if len(cut) > LISTED_NAMES else "")


def _first(names: Iterable[str], count: int) -> list[str]:
    return [str(name) for _, name in zip(range(count), names, strict=False)]
