"""A compiled expression, and the cache of those that are asked for again and again."""

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from app.engine.language.expressions.budget import MAX_STEPS, STEPS_PER_CLOCK_CHECK, Frame
from app.engine.language.expressions.compiler import Reference, compile_tree
from app.engine.language.expressions.faults import LimitExceeded
from app.engine.language.expressions.parser import parse
from app.engine.language.expressions.values import export

MAX_CACHED_SOURCE = 512
CACHED_EXPRESSIONS = 1_024


class Expression:
    """An expression that is ready to be evaluated, any number of times and by any number of threads."""

    __slots__ = ("_run", "_variables", "references", "source")

    source: str
    references: tuple[Reference, ...]

    def __init__(self, source: str) -> None:
        program = compile_tree(parse(source))
        self.source = source
        self.references = program.references
        self._run = program.run
        self._variables = program.variables

    def evaluate(self, scope: Mapping[str, Any], max_steps: int = MAX_STEPS) -> Any:
        """Return the value as JSON that shares nothing with the scope.

        `max_steps` bounds the work where others wait for it.

        Raises:
            ExpressionFault: it cannot be evaluated on this scope, or takes too much work.
        """
        frame = Frame(scope)
        if max_steps < MAX_STEPS:
            frame.steps = max_steps
            frame.next_clock_check = max_steps - min(max_steps, STEPS_PER_CLOCK_CHECK)
        value = self.value(frame)
        if value is True or value is False:
            return value
        return export(value, frame.emit)

    def value(self, frame: Frame) -> Any:
        """Return the value as it is inside, spending from a budget that the caller may share between expressions."""
        if self._variables:
            frame.variables = [None] * self._variables
        try:
            return self._run(frame)
        except OverflowError:
            raise LimitExceeded(
                "A number is too large: integers have 64 bits, and floats must be finite."
            ) from None
        except RecursionError:
            raise LimitExceeded(
                "The expression works on values that are nested too deeply."
            ) from None


def compile_expression(source: str) -> Expression:
    """Return the compiled expression; short ones are cached.

    Raises:
        ExpressionFault: it does not parse, calls what is no function, or is too large; with the position.
    """
    return _compile_cached(source) if len(source) <= MAX_CACHED_SOURCE else Expression(source)


_compile_cached = lru_cache(CACHED_EXPRESSIONS)(Expression)
