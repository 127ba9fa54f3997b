"""The `transform` node type."""

from typing import Any

from app.engine.sdk import Context, Done, Field, Node, NodeConfig


class Config(NodeConfig):
    """What the step's output is made of."""

    value: Any = Field(
        description="Any JSON; expressions in it are evaluated, and the result is the step's output.",
        examples=[{"name": "${{ input.first }} ${{ input.last }}", "total": "${{ input.total }}"}],
    )


class Transform(Node[Config, Any]):
    """Build a new value out of earlier ones.

    The output is `value`, with its expressions evaluated; later steps read it as `steps.<id>.output`.
    """

    type = "transform"
    pure = True
    title = "Transform"
    example = {"value": {"greeting": "Hello ${{ input.name }}", "total": "${{ input.total * 2 }}"}}

    async def run(self, config: Config, context: Context) -> Done:
        """Return the value."""
        del context
        return Done(config.value)
