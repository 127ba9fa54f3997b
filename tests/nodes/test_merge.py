from typing import Any

import pytest

from app.engine.nodes.merge import Config, Merge
from app.engine.sdk import Fail
from tests.nodes.fakes import FakeContext


async def run(mode: Any, **upstream: Any) -> Any:
    context = FakeContext()
    context.upstream = upstream
    return await Merge().run(Config(mode=mode), context)


@pytest.mark.parametrize(
    ("mode", "merged"), [("object", {"b": 1, "a": 2}), ("list", [1, 2]), ("first", 1)]
)
async def test_outputs_are_merged_in_the_order_of_the_definition(mode: str, merged: Any) -> None:
    assert await run(mode, b=1, a=2) == merged


@pytest.mark.parametrize(("mode", "merged"), [("object", {}), ("list", [])])
async def test_nothing_merges_to_nothing(mode: str, merged: Any) -> None:
    assert await run(mode) == merged


async def test_of_nothing_there_is_no_first() -> None:
    with pytest.raises(Fail, match="No branch") as caught:
        await run("first")

    assert caught.value.code == "nothing_to_merge"
