"""The `log` node type."""

from typing import Annotated, Any

from app.engine.sdk import Context, Field, LogLevel, Node, NodeConfig, NodeOutput


class Config(NodeConfig):
    """What to write into the run's log."""

    message: Annotated[str, Field(coerce_numbers_to_str=True)] = Field(
        description="The line to write; numbers are written as text.",
        examples=["Order ${{ input.order_id }} has arrived"],
    )
    level: LogLevel = Field(
        default="info", description="How much it matters.", examples=["warning"]
    )
    data: Any = Field(
        default=None,
        description="Any JSON to keep with the line.",
        examples=[{"order": "${{ input }}"}],
    )


class Output(NodeOutput):
    """What was written."""

    message: str = Field(description="The line, with its expressions evaluated.")


class Log(Node[Config, Output]):
    """Write a line into the run's log, where `GET /runs/{id}/logs` and the run's page show it."""

    type = "log"
    pure = True
    title = "Log"
    example = {"message": "Order ${{ input.order_id }} has arrived", "level": "info"}

    async def run(self, config: Config, context: Context) -> Output:
        """Write the line."""
        context.log(config.message, level=config.level, data=config.data)
        return Output(message=config.message)
