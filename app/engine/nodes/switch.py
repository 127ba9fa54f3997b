"""Choose between named branches."""

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import Field, model_validator

from app.engine.sdk import Context, Done, Expr, Fail, Node, NodeConfig, NodeOutput, expression_field

DEFAULT = "default"
PortName = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_-]{0,49}$")]


class Case(NodeConfig):
    """One branch: taken when the value equals `equals`, or when `when` is true."""

    port: PortName = Field(description="Name of the branch.", examples=["large"])
    equals: Any = Field(
        default=None, description="The value that takes this branch.", examples=["eu"]
    )
    when: Expr | None = expression_field(
        default=None,
        local=("value",),
        description="Or a question about `value`.",
        examples=["value > 1000"],
    )

    @model_validator(mode="after")
    def _one_of_both(self) -> "Case":
        if ("equals" in self.model_fields_set) == (self.when is not None):
            raise ValueError("A case needs either `equals` or `when`.")
        return self


class Config(NodeConfig):
    """What to look at, and the branches."""

    value: Expr = expression_field(description="The value to choose by.", examples=["input.region"])
    cases: list[Case] = Field(
        min_length=1, max_length=50, description="Asked in order; the first that holds is taken."
    )


class Output(NodeOutput):
    """Which branch was taken."""

    port: str = Field(description="Name of the branch.")


class Switch(Node[Config, Output]):
    """Choose a branch by a value: steps depend on `<id>.<port>`; `<id>.default` is taken when no case holds."""

    type = "switch"
    pure = True
    ports = (DEFAULT,)
    example = {
        "value": "input.region",
        "cases": [
            {"equals": "eu", "port": "europe"},
            {"when": "value == 'us' || value == 'ca'", "port": "america"},
        ],
    }

    @classmethod
    def ports_of(cls, config: Mapping[str, Any]) -> tuple[str, ...]:
        """Return the ports that the cases name, and `default`."""
        cases = config.get("cases")
        named = (
            [case.get("port") for case in cases if isinstance(case, Mapping)]
            if isinstance(cases, list)
            else []
        )
        return (*dict.fromkeys(port for port in named if isinstance(port, str)), DEFAULT)

    async def run(self, config: Config, context: Context) -> Done:
        """Take the first branch whose case holds."""
        del context
        value = config.value.evaluate()
        port = next((case.port for case in config.cases if _holds(case, value)), DEFAULT)
        return Done(Output(port=port), port=port)


def _holds(case: Case, value: Any) -> bool:
    if case.when is None:
        return type(case.equals) is type(value) and bool(case.equals == value)
    answer = case.when.evaluate(value=value)
    if not isinstance(answer, bool):
        raise Fail(f"`when` of the case {case.port!r} must be true or false.", code="type_mismatch")
    return answer
