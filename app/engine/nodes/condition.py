"""Choose between two branches."""

from pydantic import ConfigDict

from app.engine.sdk import (
    Context,
    Done,
    Expr,
    Fail,
    Field,
    Node,
    NodeConfig,
    NodeOutput,
    expression_field,
)


class Config(NodeConfig):
    """What to ask."""

    model_config = ConfigDict(populate_by_name=True)

    if_: Expr = expression_field(
        alias="if", description="True or false decides the branch.", examples=["input.total > 1000"]
    )


class Output(NodeOutput):
    """What it came to."""

    result: bool = Field(description="The answer.")


class Condition(Node[Config, Output]):
    """Ask a question of the data: steps that depend on `<id>.true` or on `<id>.false` run accordingly."""

    type = "condition"
    pure = True
    ports = ("true", "false")
    example = {"if": "input.total > 1000"}

    async def run(self, config: Config, context: Context) -> Done:
        """Take the branch of the answer."""
        del context
        result = config.if_.evaluate()
        if not isinstance(result, bool):
            raise Fail(
                "`if` must be true or false: compare something, as in `size(x) > 0`.",
                code="type_mismatch",
            )
        return Done(Output(result=result), port="true" if result else "false")
