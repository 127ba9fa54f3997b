from typing import Any

import pytest

from app.engine.nodes.condition import Condition, Config, Output
from app.engine.sdk import Done, Fail
from tests.nodes.fakes import FakeContext, expression


async def run(answer: Any) -> Done:
    return await Condition().run(Config(if_=expression(lambda _: answer)), FakeContext())


@pytest.mark.parametrize(("answer", "port"), [(True, "true"), (False, "false")])
async def test_the_answer_decides_the_branch(answer: bool, port: str) -> None:
    assert await run(answer) == Done(Output(result=answer), port=port)


@pytest.mark.parametrize("answer", [1, "true", None, []])
async def test_an_answer_that_is_no_boolean_fails(answer: Any) -> None:
    with pytest.raises(Fail, match="must be true or false") as caught:
        await run(answer)

    assert caught.value.code == "type_mismatch"
