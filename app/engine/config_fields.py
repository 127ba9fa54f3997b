"""Types of config fields that know more than plain JSON: expressions, JSON Schemas, names of credentials, event types.

Node authors import them from `app.engine.sdk`.
"""

from collections.abc import Mapping
from typing import Annotated, Any, Protocol

from pydantic import (
    BeforeValidator,
    Field,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    StringConstraints,
    WithJsonSchema,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, core_schema

EXPRESSION_FORMAT = "expression"
JSON_SCHEMA_FORMAT = "json-schema"
LOCALS_KEY = "x-locals"
CREDENTIAL_FORMAT = "credential"
KINDS_KEY = "x-credential-kinds"


def _as_text(value: Any) -> Any:
    """Return a number as text, so that 42 and "42" name the same thing."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return value
    return str(int(value) if isinstance(value, float) and value.is_integer() else value)


EventType = Annotated[str, StringConstraints(min_length=1, max_length=200)]
_CorrelationText = Annotated[str, StringConstraints(min_length=1, max_length=255)]
CorrelationId = Annotated[
    _CorrelationText, BeforeValidator(_as_text, json_schema_input_type=_CorrelationText | float)
]
"""What ties an event to those who wait for it; a number counts as its text."""


CredentialName = Annotated[
    str,
    StringConstraints(min_length=1, max_length=100),
    WithJsonSchema(
        {"type": "string", "format": CREDENTIAL_FORMAT, "minLength": 1, "maxLength": 100}
    ),
]
"""A field that names a credential: it is looked up when the workflow is saved, and `context.credential` gives it to the
attempt. It cannot hold an expression."""


class BoundExpression(Protocol):
    """An expression together with what it may see; the executor makes them."""

    def evaluate(self, local: Mapping[str, Any]) -> Any:
        """Return the value, with the given names added to the scope."""
        ...

    def deferred(self) -> dict[str, Any]:
        """Return its text, and what it refers to, as JSON."""
        ...


class Expr:
    """A config field that holds a bare expression, such as `item.total > 100`.

    The user writes text; the node calls `config.condition.evaluate(item=…, index=…)`.
    """

    def __init__(self, bound: BoundExpression | None) -> None:
        self._bound = bound

    def evaluate(self, **local: Any) -> Any:
        """Evaluate with the given local names; returns a JSON value.

        Raises:
            app.core.errors.ExpressionError: a path that is not there, a type that does not fit, a limit exceeded.
        """
        if self._bound is None:
            raise TypeError("this expression was only checked, not bound to a run")
        return self._bound.evaluate(local)

    def deferred(self) -> dict[str, Any]:
        """Return it with what it refers to, as JSON: the part of the engine that ends a wait evaluates it later.

        Raises:
            Fail: what it refers to is too large to be kept.
        """
        if self._bound is None:
            raise TypeError("this expression was only checked, not bound to a run")
        return self._bound.deferred()

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Take a bound expression (in a run) or text (when a definition is checked)."""
        del source, handler
        return core_schema.union_schema(
            [
                core_schema.is_instance_schema(cls),
                core_schema.no_info_after_validator_function(
                    lambda _: cls(None), core_schema.str_schema(min_length=1)
                ),
            ],
            custom_error_type="expression_type",
            custom_error_message="Input should be an expression, written as a string",
        )

    @classmethod
    def __get_pydantic_json_schema__(
        cls, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        """Show it as a string of format `expression`."""
        del schema, handler
        return {"type": "string", "format": EXPRESSION_FORMAT, "minLength": 1}


def json_schema_field(**options: Any) -> Any:
    """Declare a field that holds a JSON Schema: it is checked to be one, at save and in the run."""
    return Field(json_schema_extra={"format": JSON_SCHEMA_FORMAT}, **options)


def credential_field(*, kinds: tuple[str, ...] = (), **options: Any) -> Any:
    """Declare a `CredentialName` field; `kinds` are those that fit (none: any)."""
    return Field(json_schema_extra={KINDS_KEY: list(kinds)} if kinds else None, **options)


def expression_field(*, local: tuple[str, ...] = (), **options: Any) -> Any:
    """Declare an `Expr` field; `local` names what `evaluate` will add to the scope (for the checks at save)."""
    return Field(json_schema_extra={LOCALS_KEY: list(local)}, **options)
