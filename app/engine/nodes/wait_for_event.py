"""Wait for an event."""

from datetime import datetime, timedelta
from typing import Any, Literal

from app.engine.sdk import (
    Context,
    CorrelationId,
    Done,
    EventType,
    Expr,
    Fail,
    Field,
    Node,
    NodeConfig,
    NodeOutput,
    Suspend,
    expression_field,
)

MAX_SECONDS = 366 * 86_400


class Config(NodeConfig):
    """Which event, and for how long."""

    event_type: EventType = Field(
        description="The type of the event.", examples=["payment.received"]
    )
    correlation_id: CorrelationId | None = Field(
        default=None,
        description="Only an event with this correlation id; a number counts as its text. Unset: any event of the type.",
        examples=["${{ input.order_id }}"],
    )
    filter: Expr | None = expression_field(
        local=("event",),
        default=None,
        description="Only an event for which this is true. It sees `event` (`id`, `type`, `correlation_id`, `payload`, "
        "`received_at`), and the usual names as they are when the step begins to wait.",
        examples=["event.payload.amount >= input.total"],
    )
    timeout_seconds: float | None = Field(
        default=None,
        ge=0,
        le=MAX_SECONDS,
        description="How long to wait; a year at most. Unset: until the run ends.",
        examples=[3600],
    )
    timeout_action: Literal["fail", "port"] = Field(
        default="fail",
        description="When the time is up: `fail` fails the step, `port` goes on from the port `timeout`.",
    )


class Output(NodeOutput):
    """The event. After a time-out `id`, `payload` and `received_at` are null."""

    id: str | None = Field(description="The id that its publisher gave it, or one of ours.")
    type: str = Field(description="Its type.")
    correlation_id: str | None = Field(description="What ties it to this run.")
    payload: Any = Field(description="What its publisher sent.")
    received_at: datetime | None = Field(description="When it was stored.")


class WaitForEvent(Node[Config, Output]):
    """Wait until an event comes: from outside (`POST /api/v1/events`), or from another run (`emit_event`).

    One that came before the wait, and that nobody has taken, counts. No worker is held meanwhile.
    """

    type = "wait_for_event"
    pure = True
    title = "Wait for an event"
    ports = ("received", "timeout")
    example = {
        "event_type": "payment.received",
        "correlation_id": "${{ input.order_id }}",
        "timeout_seconds": 3600,
        "timeout_action": "port",
    }

    async def run(self, config: Config, context: Context) -> Suspend:
        """Suspend the step until the event comes, or the time is up."""
        awaited = {"event_type": config.event_type, "correlation_id": config.correlation_id}
        deferred = None if config.filter is None else config.filter.deferred()
        return Suspend(
            "event",
            until=_until(config, context.now()),
            on_due=_on_due(config),
            shown=awaited,
            data={**awaited, "filter": deferred},
        )


def _until(config: Config, now: datetime) -> datetime | None:
    if config.timeout_seconds is None:
        return None
    return now + timedelta(seconds=config.timeout_seconds)


def _on_due(config: Config) -> Done | Fail:
    if config.timeout_action == "fail":
        return Fail(
            f"No such event {config.event_type!r} came within {config.timeout_seconds or 0:g} s.",
            code="event_timed_out",
        )
    nothing = Output(
        id=None,
        type=config.event_type,
        correlation_id=config.correlation_id,
        payload=None,
        received_at=None,
    )
    return Done(nothing, port="timeout")
