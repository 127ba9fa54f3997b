"""What schemathesis is told of ours: what fits the schema is never refused for its form; how access tokens are sent."""

from typing import Any

import schemathesis
from schemathesis.generation import GenerationMode

FORM = frozenset(
    {
        "missing", "extra_forbidden", "string_type", "bool_type", "int_type", "float_type", "list_type", "dict_type",
        "enum", "literal_error", "string_too_long", "string_too_short", "greater_than_equal", "less_than_equal",
        "too_long", "too_short", "none_required", "bool_parsing", "int_parsing", "float_parsing",
    }
)  # fmt: skip
"""Codes of Pydantic's that say something which the schema can say too."""
FORM_BODY = "application/x-www-form-urlencoded"


@schemathesis.hook
def before_load_schema(context: schemathesis.HookContext, raw_schema: dict[str, Any]) -> None:
    """Describe access tokens as what they are on the wire: schemathesis does not know how OAuth 2.0 sends them.

    Only so does it see to it that every address wants one.
    """
    del context
    schemes = raw_schema["components"]["securitySchemes"]
    schemes["OAuth2PasswordBearer"] = {"type": "http", "scheme": "bearer"}


@schemathesis.check
def refused_for_its_meaning(
    context: schemathesis.CheckContext,
    response: schemathesis.Response,
    case: schemathesis.Case[Any],
) -> None:
    """Hold the refusal of a request that fits the schema to a reason beyond it."""
    del context
    generated = case.meta.generation.mode if case.meta else None
    if generated is not GenerationMode.POSITIVE or response.status_code != 422:
        return
    codes = {problem["code"] for problem in response.json().get("errors", [])}
    if case.media_type == FORM_BODY:  # an empty field of a form counts as absent
        codes.discard("missing")
    assert not codes & FORM, f"refused for its form, which fits the schema: {codes & FORM}"
