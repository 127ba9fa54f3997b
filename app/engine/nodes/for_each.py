"""Loop over a list."""

from typing import Any, Literal

from app.engine.sdk import Expr, Field, LoopNode, NodeConfig, expression_field


class Config(NodeConfig):
    """What to loop over."""

    items: Expr = expression_field(description="The list.", examples=["input.orders"])
    concurrency: int = Field(
        default=1, ge=1, le=50, strict=True, description="Iterations that run at the same time."
    )
    max_iterations: int = Field(
        default=1000, ge=1, le=1000, strict=True, description="A longer list fails the step."
    )
    on_item_error: Literal["fail", "continue"] = Field(
        default="fail", description="`continue`: an iteration that fails leaves null in the output."
    )
    stop_when: Expr | None = expression_field(
        default=None,
        local=("item", "index", "output"),
        description="Asked after each iteration: true ends the loop early.",
        examples=["output.found"],
    )


class ForEach(LoopNode[Config, list[Any]]):
    """Run the step's own `steps` once for each item; the output lists what the iterations brought, in order."""

    type = "for_each"
    example = {"items": "input.orders", "concurrency": 5}
