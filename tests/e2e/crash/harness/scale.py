"""How many runs are in flight when something dies: few in the test command, hundreds with `test --long`."""

import pytest

IN_FLIGHT = 500


def in_flight(few: int) -> pytest.MarkDecorator:
    """Give a test its number of `runs`."""
    many = pytest.param(IN_FLIGHT, marks=pytest.mark.long)
    return pytest.mark.parametrize("runs", [few, many])
