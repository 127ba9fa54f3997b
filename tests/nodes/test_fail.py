import pytest
from pydantic import ValidationError

from app.engine.nodes.fail import Config, FailOnPurpose
from app.engine.sdk import Fail
from tests.nodes.fakes import FakeContext


async def test_it_fails_with_the_message_and_the_code() -> None:
    config = Config(message="The order is empty.", code="empty_order")

    with pytest.raises(Fail, match="The order is empty") as caught:
        await FailOnPurpose().run(config, FakeContext())

    assert caught.value.code == "empty_order"


def test_the_code_has_a_default_and_is_for_programs() -> None:
    assert Config(message="x").code == "failed_on_purpose"
    with pytest.raises(ValidationError, match="code"):
        Config(message="x", code="Not a code")
