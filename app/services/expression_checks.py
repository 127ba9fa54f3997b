"""Expressions outside of definitions, checked when they are saved."""

from collections.abc import Collection, Iterator

from app.core.errors import Problem
from app.engine.language.expressions import ExpressionFault, compile_expression
from app.schemas.workflow import Dedupe

DEDUPE_NAMES = ("input", "headers")


def dedupe_problems(dedupe: Dedupe | None) -> Iterator[Problem]:
    """Yield what is wrong with the expression that makes a trigger's key."""
    if dedupe is None or dedupe.key is None:
        return
    what = "a dedupe key sees `input` and `headers`"
    yield from expression_problems("/dedupe/key", dedupe.key, DEDUPE_NAMES, what)


def expression_problems(
    at: str, source: str, names: Collection[str], what: str
) -> Iterator[Problem]:
    """Return what is wrong with an expression that sees `names` alone; `what` says so in words."""
    try:
        expression = compile_expression(source)
    except ExpressionFault as fault:
        yield Problem(at, fault.code, fault.detail)
        return
    for name in sorted({str(reference.path[0]) for reference in expression.references}):
        if name not in names:
            yield Problem(at, "unknown_name", f"There is no variable {name!r} here: {what}.")
