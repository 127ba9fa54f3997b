"""Loop as long as a condition holds."""

from typing import Any

from app.engine.sdk import Expr, Field, LoopNode, NodeConfig, NodeOutput, expression_field


class Config(NodeConfig):
    """How long to loop."""

    condition: Expr = expression_field(
        local=("index", "last"),
        description="Asked before each iteration. `index` counts from 0; `last` is the output of the one before.",
        examples=["index == 0 || last.more"],
    )
    max_iterations: int = Field(
        default=1000,
        ge=1,
        le=1000,
        strict=True,
        description="Going on after so many fails the step.",
    )


class Output(NodeOutput):
    """How often it ran, and what the last iteration brought."""

    iterations: int = Field(description="How often the steps ran.")
    last: Any = Field(description="The output of the last iteration; null when there was none.")


class While(LoopNode[Config, Output]):
    """Run the step's own `steps` again and again as long as a condition holds."""

    type = "while"
    example = {"condition": "index == 0 || last.more", "max_iterations": 100}
