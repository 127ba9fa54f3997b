"""What Pydantic refuses, in words for people who know JSON and no Python. One table for definitions, configs and requests."""

from collections.abc import Mapping
from typing import Any, Final

OBJECT: Final = "must be an object"
NUMBER: Final = "must be a number"
WHOLE_NUMBER: Final = "must be a whole number"
TRUE_OR_FALSE: Final = "must be true or false"
TIME: Final = "must be a time with its offset, such as 2026-11-01T00:00:00Z"
EMPTY: Final = "must not be empty"

PREDICATES: Final[Mapping[str, str]] = {
    "missing": "is required: add it",
    "extra_forbidden": "is not known here: remove it, or correct its name",
    "dict_type": OBJECT,
    "model_type": OBJECT,
    "model_attributes_type": OBJECT,
    "list_type": "must be a list",
    "string_type": "must be a string",
    "int_type": WHOLE_NUMBER,
    "int_parsing": WHOLE_NUMBER,
    "int_from_float": WHOLE_NUMBER,
    "int_parsing_size": "must be a whole number of fewer digits",
    "float_type": NUMBER,
    "float_parsing": NUMBER,
    "finite_number": NUMBER,
    "bool_type": TRUE_OR_FALSE,
    "bool_parsing": TRUE_OR_FALSE,
    "none_required": "must be null",
    "datetime_type": TIME,
    "datetime_parsing": TIME,
    "datetime_from_date_parsing": TIME,
    "datetime_object_invalid": TIME,
    "timezone_aware": TIME,
    "literal_error": "must be {expected}",
    "enum": "must be {expected}",
    "greater_than": "must be greater than {gt}",
    "greater_than_equal": "must be at least {ge}",
    "less_than": "must be less than {lt}",
    "less_than_equal": "must be at most {le}",
    "too_short": "must have at least {min_length} entries",
    "too_long": "must have at most {max_length} entries, and has {actual_length}",
    "string_too_short": "must have at least {min_length} characters",
    "string_too_long": "must have at most {max_length} characters",
    "string_pattern_mismatch": "has characters that are not allowed here, or another form than it must have",
}


def sentence_of(fault: Mapping[str, Any], subject: str = "This") -> str:
    """Return what is wrong with the subject, as one sentence."""
    context = {name: _shown(value) for name, value in fault.get("ctx", {}).items()}
    if context.get("min_length") == "1":
        return f"{subject} {EMPTY}."
    predicate = PREDICATES.get(fault["type"])
    if predicate is not None:
        return f"{subject} {predicate.format(**context)}."
    return _with_subject(fault["msg"], subject)


def _shown(value: object) -> str:
    return str(value).removesuffix(".0")


def _with_subject(message: str, subject: str) -> str:
    """Return a validator's own words, of which those in lower case say something about the subject."""
    message = message.removeprefix("Value error, ").removeprefix("Assertion failed, ").rstrip(".")
    message = message.replace("Input should be", "must be")
    return f"{subject} {message}." if message[:1].islower() else f"{message}."
