from typing import Any

import pytest
from pydantic import ValidationError

from app.engine.nodes.log import Config, Log
from tests.nodes.fakes import FakeContext


async def test_the_line_goes_to_the_run_s_log_and_to_the_output() -> None:
    context = FakeContext()
    config = Config(message="Order 7", level="warning", data={"id": 7})

    output = await Log().run(config, context)

    assert output.message == "Order 7"
    assert context.lines == [("Order 7", "warning", {"id": 7})]


def test_a_number_becomes_text_and_the_level_is_info() -> None:
    config = Config.model_validate({"message": 7})

    assert (config.message, config.level) == ("7", "info")


@pytest.mark.parametrize("config", [{}, {"message": "a", "level": "loud"}, {"message": {"a": 1}}])
def test_a_config_that_makes_no_line_is_refused(config: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Config.model_validate(config)
