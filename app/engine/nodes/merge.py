"""Bring branches together."""

from typing import Any, Literal

from app.engine.sdk import Context, Fail, Field, Node, NodeConfig


class Config(NodeConfig):
    """How to merge."""

    mode: Literal["object", "list", "first"] = Field(
        default="object",
        description="`object`: the outputs, by step id. `list`: one after the other. `first`: the first there is.",
    )


class Merge(Node[Config, Any]):
    """Merge the outputs of the steps that led here; branches that were not taken bring nothing."""

    type = "merge"
    pure = True
    example = {"mode": "object"}

    async def run(self, config: Config, context: Context) -> Any:
        """Return the upstream outputs, merged."""
        outputs = context.upstream
        if config.mode == "object":
            return dict(outputs)
        if config.mode == "list":
            return list(outputs.values())
        if not outputs:
            raise Fail("No branch that leads to this step was taken.", code="nothing_to_merge")
        return next(iter(outputs.values()))
