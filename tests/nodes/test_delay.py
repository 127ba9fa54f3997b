"""The node that waits."""

from datetime import datetime

import pytest
from pydantic import ValidationError

from app.engine.nodes.delay import Config, Delay, Output
from app.engine.registry import load_catalogue
from app.engine.sdk import Fail
from tests.nodes.fakes import FakeContext


async def test_the_ends_of_the_calendar_are_times_like_others() -> None:
    begin = Config(until=datetime.fromisoformat("0001-01-01T00:00:00+14:00"))
    end = Config(until=datetime.fromisoformat("9999-12-31T23:59:59-14:00"))

    assert await Delay().run(begin, FakeContext()) == Output(waited_seconds=0)
    with pytest.raises(Fail) as refused:
        await Delay().run(end, FakeContext())
    assert refused.value.code == "delay_too_long"


def test_it_takes_either_seconds_or_a_time() -> None:
    with pytest.raises(ValidationError, match="Give either"):
        Config()


def test_a_number_of_seconds_that_does_not_fit_is_there_all_the_same() -> None:
    problems = load_catalogue().check_config("delay", {"seconds": -5})

    assert [problem.detail for problem in problems] == ["`seconds` must be at least 0."]
