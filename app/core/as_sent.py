"""What callers send is taken as what it is: `"5"` is no number, `true` is none either, and blanks are no text."""

from typing import Any, Final

from pydantic import BaseModel, Field, ValidatorFunctionWrapHandler, field_validator

NOT_BLANK: Final = Field(json_schema_extra={"pattern": r"\S"})
"""Tells in the schema of a stripped text that blanks alone are refused as no text."""


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
