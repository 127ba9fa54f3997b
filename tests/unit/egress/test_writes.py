"""How requests travel: each in as few packets as it can."""

from collections.abc import AsyncIterator, Iterable

import httpcore
import httpx
import pytest

from app.engine.egress.client import build_client
from app.engine.egress.policy import build_policy
from tests.unit.egress.loopback import Names, reply

URL = "http://example.com/"


class Recorder(httpcore.AsyncMockStream):
    """A connection that keeps what is written, and answers; it may be closed to writing."""

    closed_to_writing = False

    def __init__(self) -> None:
        super().__init__([])
        self.writes: list[bytes] = []

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ASYNC109 - httpcore's signature
        del max_bytes, timeout
        return reply(200, b"yes")

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ASYNC109 - httpcore's signature
        del timeout
        if self.closed_to_writing:
            raise httpcore.WriteError
        self.writes.append(buffer)


class Network(httpcore.AsyncNetworkBackend):
    """Opens the one connection."""

    def __init__(self, stream: Recorder) -> None:
        self.stream = stream

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 - httpcore's signature
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        del host, port, timeout, local_address, socket_options
        return self.stream


@pytest.fixture
def stream() -> Recorder:
    return Recorder()


@pytest.fixture
async def client(stream: Recorder) -> AsyncIterator[httpx.AsyncClient]:
    names = Names({"example.com": ["1.1.1.1"]})
    async with build_client(build_policy([]), resolve=names, network=Network(stream)) as client:
        yield client


async def test_head_and_body_travel_together_in_each_request_of_a_connection(
    client: httpx.AsyncClient, stream: Recorder
) -> None:
    for number in range(2):
        await client.post(URL, content=b"body %d" % number)

    assert [(text[:4], text[-6:]) for text in stream.writes] == [
        (b"POST", b"body 0"),
        (b"POST", b"body 1"),
    ]


async def test_a_request_without_a_body_is_sent(
    client: httpx.AsyncClient, stream: Recorder
) -> None:
    await client.get(URL)

    assert [text[-4:] for text in stream.writes] == [b"\r\n\r\n"]


async def test_a_body_that_comes_in_parts_is_sent_part_by_part(
    client: httpx.AsyncClient, stream: Recorder
) -> None:
    async def parts() -> AsyncIterator[bytes]:
        for part in (b"one", b"two"):
            yield part

    await client.post(URL, content=parts())

    head_and_one, two, end = stream.writes
    assert head_and_one.endswith(b"\r\n\r\n3\r\none\r\n")
    assert (two, end) == (b"3\r\ntwo\r\n", b"0\r\n\r\n")


async def test_an_answer_that_comes_before_the_request_is_written_counts(
    client: httpx.AsyncClient, stream: Recorder
) -> None:
    stream.closed_to_writing = True

    answer = await client.post(URL, content=b"body")

    assert answer.text == "yes"


async def test_cookies_are_not_kept_for_the_runs_of_others(client: httpx.AsyncClient) -> None:
    with pytest.raises(AttributeError, match="send them in a header"):
        client.cookies = httpx.Cookies({"a": "b"})

    assert not client.cookies
