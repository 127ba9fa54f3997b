"""What several wire forms share."""

import re
from datetime import UTC, datetime
from typing import Annotated, Any, Generic, TypeVar

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
)

from app.core.as_sent import AsSent
from app.core.ids import parse_id

Item = TypeVar("Item")
_NUMBER = re.compile(r"[+-]?[\d.]+(?:e[+-]?\d+)?", re.IGNORECASE)
EXAMPLE_ID = "019aa4c2-6f10-7c3e-9d52-3b1f7a8e4c11"


class Input(AsSent):
    """Base of what callers send: unknown fields are refused, so that a typo is seen, and types are JSON's own."""

    model_config = ConfigDict(extra="forbid", str_strip_whitespace=False)


class Page(BaseModel, Generic[Item]):
    """A part of a list. `next_cursor` goes into `?cursor=` to read on; null at the end."""

    items: list[Item]
    next_cursor: str | None = Field(description="Send as `?cursor=`; null: nothing is left.")


class ProblemItem(BaseModel):
    """One thing that is wrong."""

    pointer: str = Field(description="JSON pointer (RFC 6901) into the body; empty: the whole.")
    code: str = Field(description="Stable, for programs.")
    detail: str = Field(description="What is wrong and how to mend it.")


class ProblemDocument(BaseModel):
    """Problem details (RFC 9457): how every error of this API looks."""

    type: str = Field(description="Names the kind of problem.")
    title: str
    status: int
    detail: str = Field(description="What is wrong and how to mend it.")
    code: str = Field(description="Stable, for programs.")
    errors: list[ProblemItem] = Field(
        default=[], description="Every problem of an input at once; absent for other errors."
    )


def _canonical_id(text: str) -> str:
    found = parse_id(text)
    if found is None:
        raise ValueError(f"is no id: one looks like {EXAMPLE_ID}")
    return found


ObjectId = Annotated[
    str, AfterValidator(_canonical_id), Field(json_schema_extra={"format": "uuid"})
]


def _in_utc(time: datetime) -> datetime:
    try:
        return time.astimezone(UTC)
    except OverflowError:
        raise ValueError("is out of range: take a year between 1 and 9999") from None


def _written(time: Any) -> Any:
    """Refuse what would be taken for seconds since 1970."""
    if isinstance(time, int | float) or (isinstance(time, str) and _NUMBER.fullmatch(time.strip())):
        raise ValueError("must be a time such as 2026-11-21T12:00:00Z")
    return time


UtcTime = Annotated[AwareDatetime, BeforeValidator(_written), AfterValidator(_in_utc)]
