"""Expressions that are evaluated later, in another process: their text and what they refer to, as JSON."""

from collections.abc import Mapping, Sequence
from typing import Any

from app.engine.language.expressions import Expression, compile_expression


def defer(expression: Expression, scope: Mapping[str, Any]) -> dict[str, Any]:
    """Return an expression with the part of the scope that it refers to."""
    kept: dict[str, Any] = {}
    paths = {reference.path for reference in expression.references}
    for path in sorted(paths, key=len):
        _keep(path, scope, kept)
    return {"source": expression.source, "scope": kept}


def evaluate_deferred(deferred: Mapping[str, Any], local: Mapping[str, Any], max_steps: int) -> Any:
    """Return the value of what `defer` has returned, with the given names added to its scope.

    Raises:
        ExpressionFault: it cannot be evaluated, or takes more than `max_steps`.
    """
    expression = compile_expression(deferred["source"])
    return expression.evaluate({**deferred["scope"], **local}, max_steps)


def _keep(path: Sequence[str | int], scope: Mapping[str, Any], kept: dict[str, Any]) -> None:
    """Copy what a path leads to. Shorter paths come first: what they have kept whole is not cut again."""
    *way, last = _names(path, scope)
    for name in way:
        if kept.get(name) is scope[name]:
            return
        kept = kept.setdefault(name, {})
        scope = scope[name]
    if last in scope:
        kept[last] = scope[last]


def _names(path: Sequence[str | int], scope: Mapping[str, Any]) -> list[str]:
    """Return the part of a path that leads through objects only; its last name may be missing."""
    names: list[str] = []
    value: Any = scope
    for name in path:
        if not isinstance(name, str) or not isinstance(value, Mapping):
            break
        names.append(name)
        if name not in value:
            break
        value = value[name]
    return names
