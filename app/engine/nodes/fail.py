"""Fail on purpose."""

from typing import Annotated

from pydantic import StringConstraints

from app.engine import sdk
from app.engine.sdk import Context, Field, Node, NodeConfig

Code = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,63}$")]


class Config(NodeConfig):
    """What to say."""

    message: str = Field(
        description="Why the run fails, for people.", examples=["The order is empty."]
    )
    code: Code = Field(
        default="failed_on_purpose", description="The same for programs.", examples=["empty_order"]
    )


class FailOnPurpose(Node[Config, None]):
    """Fail the run on purpose, with a message and a code."""

    type = "fail"
    pure = True
    title = "Fail"
    example = {"message": "The order is empty.", "code": "empty_order"}

    async def run(self, config: Config, context: Context) -> None:
        """Fail."""
        del context
        raise sdk.Fail(config.message, code=config.code)
