"""Publish an event."""

from typing import Any

from app.engine.sdk import (
    Context,
    CorrelationId,
    EventType,
    Field,
    Node,
    NodeConfig,
    NodeOutput,
)


class Config(NodeConfig):
    """What to tell."""

    event_type: EventType = Field(description="The type of the event.", examples=["order.shipped"])
    correlation_id: CorrelationId | None = Field(
        default=None,
        description="Ties it to those who wait for it; a number counts as its text.",
        examples=["${{ input.order_id }}"],
    )
    payload: Any = Field(
        default=None,
        description="What to tell: any JSON.",
        examples=[{"parcel": "${{ steps.ship.output.parcel }}"}],
    )


class Output(NodeOutput):
    """What was published."""

    id: str = Field(description="The id of the event.")


class EmitEvent(Node[Config, Output]):
    """Publish an event, exactly once: it resumes my runs that wait for it, and starts my workflows that begin with it."""

    type = "emit_event"
    pure = True
    title = "Emit an event"
    example = {
        "event_type": "order.shipped",
        "correlation_id": "${{ input.order_id }}",
        "payload": {"parcel": "P-1"},
    }

    async def run(self, config: Config, context: Context) -> Output:
        """Hand the event to the engine, which publishes it with the step's result."""
        event_id = context.emit_event(
            config.event_type, correlation_id=config.correlation_id, payload=config.payload
        )
        return Output(id=event_id)
