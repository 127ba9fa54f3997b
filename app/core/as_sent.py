"""Models that take numbers and booleans of JSON only as what they are: `"5"` is no number, and `true` is none either."""

from typing import Any

from pydantic import BaseModel, ValidatorFunctionWrapHandler, field_validator


class AsSent(BaseModel):
    """Base of models whose values come from callers: Pydantic alone would take one type for another."""

    @field_validator("*", mode="wrap")
    @classmethod
    def _as_it_was_sent(cls, sent: Any, validate: ValidatorFunctionWrapHandler) -> Any:
        value = validate(sent)
        if isinstance(value, bool):
            fits, what = isinstance(sent, bool), "true or false"
        else:
            fits, what = (
                not isinstance(value, int | float) or type(sent) in (int, float),
                "a number",
            )
        if not fits:
            raise ValueError(f"must be {what}, without quotes")
        return value
