"""How deep a run lies goes along with its calls, and is read from what is called."""

import pytest

from app.engine.egress.client import build_client
from app.engine.egress.policy import build_policy
from app.engine.egress.run_depth import calling_at, told_depth
from tests.unit.egress.loopback import reply, serve


async def test_a_call_tells_how_deep_its_run_lies_whatever_the_node_says() -> None:
    async with serve(reply(headers="Connection: close\r\n")) as other:
        away = reply(307, headers=f"Location: {other.url()}\r\nConnection: close\r\n")
        async with serve(away) as server, build_client(build_policy(["127.0.0.1"])) as client:
            with calling_at(3):
                mine = {"x-run-depth": "0"}
                await client.post(server.url(), headers=mine, follow_redirects=True)

    for request in (*server.requests, *other.requests):
        lines = request.lower().split(b"\r\n")
        assert [line for line in lines if line.startswith(b"x-run-depth")] == [b"x-run-depth: 4"]
    assert len(other.requests) == 1


async def test_calls_of_no_run_tell_nothing() -> None:
    async with serve(reply()) as server, build_client(build_policy(["127.0.0.1"])) as client:
        await client.get(server.url())

    assert b"x-run-depth" not in server.requests[0].lower()


@pytest.mark.parametrize(
    ("text", "depth"),
    [("7", 7), ("999", 999), (None, 0), ("", 0), ("-1", 0), ("1000", 0), ("\u0663", 0), ("x", 0)],
)
def test_only_a_plain_number_is_read(text: str | None, depth: int) -> None:
    assert told_depth(text) == depth
