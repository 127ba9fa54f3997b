"""Wait."""

from datetime import datetime, timedelta
from typing import Self

from pydantic import AwareDatetime, model_validator

from app.engine.sdk import Context, Done, Fail, Field, Node, NodeConfig, NodeOutput, Suspend

MAX_SECONDS = 366 * 86_400


class Config(NodeConfig):
    """How long, or until when: one of the two."""

    seconds: float | None = Field(
        default=None,
        ge=0,
        le=MAX_SECONDS,
        description="How many seconds to wait; a year at most.",
        examples=[60],
    )
    until: AwareDatetime | None = Field(
        default=None,
        description="The time to wait for, in RFC 3339 with a time zone; one that has passed is not waited for.",
        examples=["2026-12-24T18:00:00Z"],
    )

    @model_validator(mode="after")
    def _one_of_both(self) -> Self:
        if (self.seconds is None) == (self.until is None):
            raise ValueError("Give either `seconds` or `until`.")
        return self


class Output(NodeOutput):
    """How long it was to wait."""

    waited_seconds: float = Field(
        description="From the start of the step to the time that it waited for."
    )


class Delay(Node[Config, Output]):
    """Wait for some seconds, or until a time. No worker is held meanwhile, and no restart shortens or lengthens it."""

    type = "delay"
    pure = True
    example = {"seconds": 60}

    async def run(self, config: Config, context: Context) -> Output | Suspend:
        """Suspend the step until the time has come."""
        now = context.now()
        until = _due(config, now)
        if until <= now:
            return Output(waited_seconds=0)
        waited = round((until - now).total_seconds(), 3)
        return Suspend("timer", until, Done(Output(waited_seconds=waited)))


def _due(config: Config, now: datetime) -> datetime:
    if config.until is None:
        return now + timedelta(seconds=config.seconds or 0)
    # Compared as they are: near the ends of the calendar there is no such time in UTC.
    if config.until - now > timedelta(seconds=MAX_SECONDS):
        raise Fail("`until` is more than a year away: wait for less.", code="delay_too_long")
    return config.until
