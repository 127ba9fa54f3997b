from collections.abc import Mapping
from typing import Any

import pytest
from pydantic import ValidationError

from app.engine.nodes.switch import Case, Config, Output, Switch
from app.engine.sdk import Done, Fail
from tests.nodes.fakes import FakeContext, expression


async def run(value: Any, *cases: Case) -> Done:
    config = Config(value=expression(lambda _: value), cases=list(cases))
    return await Switch().run(config, FakeContext())


def asks(port: str, answer: Any) -> Case:
    def ask(local: Mapping[str, Any]) -> Any:
        return answer(local["value"])

    return Case(port=port, when=expression(ask))


async def test_the_first_case_that_holds_is_taken() -> None:
    cases = (Case(port="a", equals=1), asks("b", lambda value: value > 1), Case(port="c", equals=3))

    assert await run(3, *cases) == Done(Output(port="b"), port="b")
    assert await run(1, *cases) == Done(Output(port="a"), port="a")


async def test_when_no_case_holds_the_default_is_taken() -> None:
    assert await run(2, Case(port="a", equals=1)) == Done(Output(port="default"), port="default")


@pytest.mark.parametrize(("value", "equals"), [(True, 1), (0, False), ("1", 1), (None, "")])
async def test_values_of_different_types_are_never_equal(value: Any, equals: Any) -> None:
    assert (await run(value, Case(port="a", equals=equals))).port == "default"


async def test_null_equals_null() -> None:
    assert (await run(None, Case(port="a", equals=None))).port == "a"


async def test_a_question_that_is_answered_with_no_boolean_fails_and_names_the_case() -> None:
    with pytest.raises(Fail, match="case 'a'") as caught:
        await run(1, asks("a", lambda value: value))

    assert caught.value.code == "type_mismatch"


@pytest.mark.parametrize("case", [{"port": "a"}, {"port": "a", "equals": 1, "when": "true"}])
def test_a_case_needs_either_a_value_or_a_question(case: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match="either `equals` or `when`"):
        Config.model_validate({"value": "1", "cases": [case]})


@pytest.mark.parametrize(
    ("config", "ports"),
    [
        ({"cases": [{"port": "a"}, {"port": "b"}, {"port": "a"}]}, ("a", "b", "default")),
        ({"cases": "nonsense"}, ("default",)),
        ({"cases": ["nonsense", {"port": 5}, {}]}, ("default",)),
        ({}, ("default",)),
    ],
)
def test_its_ports_are_those_of_its_cases(config: dict[str, Any], ports: tuple[str, ...]) -> None:
    assert Switch.ports_of(config) == ports
