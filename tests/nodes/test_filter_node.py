from typing import Any

import pytest
from pydantic import ValidationError

from app.engine.nodes.filter_node import Config, Filter, Filtered, Gate
from app.engine.sdk import Done, Fail, node_models
from tests.nodes.fakes import FakeContext, expression


async def run(items: Any, condition: Any) -> Filtered | Done:
    config = Config(items=expression(lambda _: items), condition=expression(condition))
    return await Filter().run(config, FakeContext())


async def test_the_items_that_fulfil_the_condition_stay_in_order() -> None:
    output = await run([3, 200, 5, 150], lambda local: local["item"] > 100)

    assert output == Filtered(items=[200, 150], kept=2, dropped=2)


async def test_the_condition_sees_the_index() -> None:
    output = await run(["a", "b", "c"], lambda local: local["index"] != 1)

    assert output == Filtered(items=["a", "c"], kept=2, dropped=1)


async def test_a_long_list_is_judged_whole() -> None:
    output = await run(list(range(2_000)), lambda local: local["item"] % 2 == 0)

    assert isinstance(output, Filtered)
    assert (output.kept, output.dropped) == (1_000, 1_000)


@pytest.mark.parametrize(
    ("items", "kind"),
    [({"a": 1}, "an object"), (None, "null"), ("text", "a string"), (3, "a number")],
)
async def test_items_that_are_no_list_fail_and_say_what_they_are(items: Any, kind: str) -> None:
    with pytest.raises(Fail, match=f"`items` must be a list, but it is {kind}") as caught:
        await run(items, lambda _: True)

    assert caught.value.code == "items_not_a_list"


@pytest.mark.parametrize("verdict", [1, "true", None, []])
async def test_a_condition_that_is_no_boolean_fails_and_names_the_item(verdict: Any) -> None:
    with pytest.raises(Fail, match="must be true or false, but for item 0 it is") as caught:
        await run(["a"], lambda _: verdict)

    assert caught.value.code == "condition_not_boolean"


async def test_without_items_a_true_condition_passes() -> None:
    config = Config(condition=expression(lambda _: True))

    assert await Filter().run(config, FakeContext()) == Done(Gate(passed=True))


async def test_without_items_a_false_condition_stops_the_branch() -> None:
    config = Config(condition=expression(lambda _: False))

    assert await Filter().run(config, FakeContext()) == Done(Gate(passed=False), port=None)


def test_a_config_without_a_condition_is_refused() -> None:
    with pytest.raises(ValidationError, match="condition"):
        Config.model_validate({"items": "input.items"})


def test_the_schema_tells_what_the_condition_may_see() -> None:
    schema = Config.model_json_schema()["properties"]["condition"]

    assert schema["x-locals"] == ["item", "index"]
    assert schema["format"] == "expression"


def test_the_example_holds_and_both_outputs_are_declared() -> None:
    config, output = node_models(Filter)

    config.model_validate(Filter.example)
    assert output == Filtered | Gate
