"""Conditions: expressions that must come to true or false."""

from collections.abc import Mapping
from typing import Any

from app.core.errors import AutomateError
from app.engine.language.expressions import Expression


class NotBoolean(AutomateError):
    """A condition is neither true nor false."""

    code = "type_mismatch"


def holds(expression: Expression, scope: Mapping[str, Any], name: str) -> bool:
    """Return what a condition comes to; `name` is the field that it stands in.

    Raises:
        AutomateError: it cannot be evaluated, or is neither true nor false.
    """
    value = expression.evaluate(scope)
    if not isinstance(value, bool):
        raise NotBoolean(f"`{name}` must be true or false: compare something, as in `size(x) > 0`.")
    return value
