from typing import Any

import pytest
from pydantic import ValidationError

from app.engine.nodes.transform import Config, Transform
from app.engine.sdk import Done
from tests.nodes.fakes import FakeContext


@pytest.mark.parametrize("value", [None, 0, "text", [1, {"a": None}], {"a": {"b": [True]}}])
async def test_the_value_is_the_output(value: Any) -> None:
    done = await Transform().run(Config(value=value), FakeContext())

    assert done == Done(value)


def test_a_config_without_a_value_is_refused() -> None:
    with pytest.raises(ValidationError, match="value"):
        Config.model_validate({})
