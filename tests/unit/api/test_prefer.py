"""What callers write into `Prefer`."""

import pytest
from fastapi import Request

from app.api.waiting import wait_seconds


def _request(*preferences: str) -> Request:
    headers = [(b"prefer", preference.encode()) for preference in preferences]
    return Request({"type": "http", "headers": headers})


@pytest.mark.parametrize(
    ("preferences", "expected"),
    [
        ((), 0),
        (("wait=10",), 10),
        (("Wait = 10",), 10),
        (('wait="10"',), 10),
        (("respond-async, wait=5",), 5),
        (("return=minimal", "wait=5; foo=bar"), 5),
        (("wait=5, wait=9",), 5),
        (("wait=0",), 0),
        (("wait=600",), 60),
        (("wait=" + "9" * 30,), 0),
        (("wait",), 0),
        (("wait=",), 0),
        (("wait=-1",), 0),
        (("wait=1.5",), 0),
        (("wait=ten",), 0),
        (("wait=\u0661",), 0),
        (("await=10",), 0),
    ],
)
def test_a_wish_is_read_capped_or_ignored(preferences: tuple[str, ...], expected: int) -> None:
    assert wait_seconds(_request(*preferences)) == expected
