"""The config of an attempt: its bare expressions bound to what they see, then validated by the node's model."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson
from pydantic import BaseModel, ValidationError

from app.engine.attempt.answers import Refused
from app.engine.attempt.context import cut
from app.engine.language.deferred import defer
from app.engine.language.expression_places import Path, put
from app.engine.language.expressions import Expression
from app.engine.language.problems import from_validation
from app.engine.planning.transitions import Failed
from app.engine.sdk import Expr, Fail

MAX_DEFERRED_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True)
class _Bound:
    """An expression with the scope that it sees."""

    expression: Expression
    scope: Mapping[str, Any]

    def evaluate(self, local: Mapping[str, Any]) -> Any:
        return self.expression.evaluate({**self.scope, **local} if local else self.scope)

    def deferred(self) -> dict[str, Any]:
        deferred = defer(self.expression, self.scope)
        if len(orjson.dumps(deferred)) > MAX_DEFERRED_BYTES:
            raise Fail(
                f"The expression refers to more than {MAX_DEFERRED_BYTES // 1024} KiB of data, which must be kept while the "
                "step waits: put what it needs into a `transform` step, and refer to that.",
                code="expression_scope_too_large",
            )
        return deferred


def complete(
    model: type[BaseModel],
    config: dict[str, Any],
    expressions: Mapping[Path, Expression],
    scope: Mapping[str, Any],
) -> BaseModel:
    """Put the expressions into a rendered config, and return it as the node gets it.

    Raises:
        Refused: it does not fit the model.
    """
    for path, expression in expressions.items():
        put(config, path, Expr(_Bound(expression, scope)))
    try:
        return model.model_validate(config)
    except ValidationError as error:
        problems = from_validation(error, model, config)
        faults = "; ".join(f"{problem.pointer or '/'}: {problem.detail}" for problem in problems)
        message = cut(f"The config does not fit once its expressions are evaluated: {faults}")
        raise Refused(Failed("invalid_config", message, again=False)) from None
