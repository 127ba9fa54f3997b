"""What the client refuses, and what it does not let through. No packet leaves the machine."""

import asyncio
from collections.abc import AsyncIterator

import httpcore
import httpx
import pytest

from app.engine.egress import pool
from app.engine.egress.backend import GuardedBackend
from app.engine.egress.client import build_client
from app.engine.egress.policy import build_policy
from app.engine.egress.transport import CallHeld
from app.engine.guards.held import Held
from tests.unit.egress.loopback import Names, NoNetwork, reply, serve

HOSTILE = [
    "http://127.0.0.1/", "http://127.0.0.1:6379/", "https://127.0.0.1/", "http://127.1/", "http://2130706433/",
    "http://017700000001/", "http://0x7f.1/", "http://0x7f000001/", "http://0177.0.0.1/", "http://127.0.0.1./",
    "http://127。0。0。1/", "http://\uff11\uff12\uff17.\uff10.\uff10.\uff11/", "http://①②⑦.⓪.⓪.①/", "http://%31%32%37.0.0.1/", "http://0/",
    "http://0.0.0.0/", "http://localhost/", "http://LOCALHOST/", "http://localhost./", "http://ⓛocalhost/",
    "http://10.0.0.1/", "http://172.16.0.1/", "http://192.168.0.1/", "http://100.64.0.1/", "http://100.100.100.200/",
    "http://169.254.169.254/latest/meta-data/", "http://[fd00:ec2::254]/latest/meta-data/", "http://168.63.129.16/",
    "http://192.0.0.192/", "http://224.0.0.1/", "http://240.0.0.1/", "http://255.255.255.255/", "http://198.18.0.1/",
    "http://[::]/", "http://[::1]/", "http://[0:0:0:0:0:0:0:1]/", "http://[::127.0.0.1]/", "http://[::ffff:127.0.0.1]/",
    "http://[::ffff:7f00:1]/", "http://[::ffff:a9fe:a9fe]/", "http://[64:ff9b::7f00:1]/", "http://[64:ff9b:1::1]/",
    "http://[2002:7f00:1::]/", "http://[2001:0:7f00:1::]/", "http://[fc00::1]/", "http://[fe80::1]/",
    "http://[fe80::1%25eth0]/", "http://[2606:4700::1%25eth0]/", "http://[fec0::1]/", "http://[ff02::1]/",
    "http://user@1.1.1.1/", "http://user:pass@1.1.1.1/", "http://:@1.1.1.1/", "http://1.1.1.1\\@127.0.0.1/",
    "http://1.1.1.1@127.0.0.1/", "ftp://1.1.1.1/", "file:///etc/passwd", "gopher://1.1.1.1/", "ws://1.1.1.1/",
    "unix:///var/run/docker.sock", "data:text/plain,hi", "http:///x", "http:127.0.0.1", "//127.0.0.1/", "/etc/passwd",
    "http://1.1.1.1:0/", "http://1.1.1.1:-80/", "http://1.1.1.1:65616/", "http://a..b/", f"http://{'a' * 70}.com/",
    "http://127.0.0.1\r\nX: y/", "http://metadata.google.internal/", "http://mixed.test/", "http://mapped.test/",
]  # fmt: skip


@pytest.fixture
async def network() -> NoNetwork:
    return NoNetwork()


@pytest.fixture
async def names() -> Names:
    """What the system's resolver makes of odd spellings, and what hostile name servers answer."""
    inner = {
        name: ["127.0.0.1"]
        for name in [
            "127.1",
            "2130706433",
            "017700000001",
            "0x7f.1",
            "0x7f000001",
            "localhost",
            "127.0.0.1.",
        ]
    }
    return Names(
        inner
        | {"localhost.": ["::1"], "0": ["0.0.0.0"]}
        | {"metadata.google.internal": ["169.254.169.254"]}
        | {"mixed.test": ["1.1.1.1", "10.0.0.1"], "mapped.test": ["::ffff:127.0.0.1"]}
        | {"example.com": ["1.1.1.1"], "two.test": ["1.1.1.1", "2606:4700::1111"]}
    )


@pytest.fixture
async def client(network: NoNetwork, names: Names) -> AsyncIterator[httpx.AsyncClient]:
    async with build_client(build_policy([]), resolve=names, network=network) as client:
        yield client


@pytest.mark.parametrize("url", HOSTILE)
async def test_a_hostile_url_opens_no_connection(
    url: str, client: httpx.AsyncClient, network: NoNetwork
) -> None:
    with pytest.raises((httpx.TransportError, httpx.InvalidURL)):
        await client.get(url, follow_redirects=True)

    assert network.targets == []


async def test_a_public_host_is_connected_by_its_checked_address(
    client: httpx.AsyncClient, network: NoNetwork, names: Names
) -> None:
    with pytest.raises(httpx.ConnectError):
        await client.get("https://example.com/")

    assert network.targets == [("1.1.1.1", 443)]
    assert names.asked == ["example.com"]


async def test_every_checked_address_is_tried(
    client: httpx.AsyncClient, network: NoNetwork
) -> None:
    with pytest.raises(httpx.ConnectError):
        await client.get("http://two.test:8080/")

    assert network.targets == [("1.1.1.1", 8080), ("2606:4700::1111", 8080)]


async def test_a_silent_address_leaves_time_for_the_next(
    client: httpx.AsyncClient, network: NoNetwork
) -> None:
    network.silent = ("1.1.1.1",)

    with pytest.raises(httpx.ConnectError):
        await client.get("http://two.test/", timeout=0.1)

    assert network.targets == [("1.1.1.1", 80), ("2606:4700::1111", 80)]


async def test_a_host_that_keeps_silent_times_out(
    client: httpx.AsyncClient, network: NoNetwork
) -> None:
    network.silent = ("1.1.1.1",)

    with pytest.raises(httpx.ConnectTimeout, match=r"example\.com:80 did not answer in time"):
        await client.get("http://example.com/", timeout=0.05)


async def test_a_unix_socket_is_never_opened() -> None:
    backend = GuardedBackend(build_policy(["0.0.0.0/0"]))

    with pytest.raises(httpcore.ConnectError):
        await backend.connect_unix_socket("/var/run/docker.sock")


async def test_blocked_unknown_and_refused_look_alike(client: httpx.AsyncClient) -> None:
    messages = set()
    for host in ("mixed.test", "unknown.test", "example.com"):
        with pytest.raises(httpx.ConnectError) as caught:
            await client.get(f"http://{host}/")
        messages.add(str(caught.value).replace(host, "HOST"))

    assert len(messages) == 1


async def test_a_name_that_changes_its_answer_is_checked_anew_for_each_connection() -> None:
    async with serve(reply(headers="Connection: close\r\n")) as server:
        answers = Names({"rebind.test": ["127.0.0.1"]})
        policy = build_policy(["127.0.0.1"])
        async with build_client(policy, resolve=answers) as client:
            first = await client.get(server.url("rebind.test"))
            answers.known["rebind.test"] = ["127.0.0.2"]
            with pytest.raises(httpx.ConnectError):
                await client.get(server.url("rebind.test"))

    assert first.status_code == 200
    assert len(answers.asked) == 2
    assert server.connections == 1


async def test_a_canary_on_loopback_gets_no_connection() -> None:
    async with serve(reply()) as canary, build_client(build_policy([])) as client:
        for host in ("127.0.0.1", "localhost", "127.1", "2130706433", "[::ffff:127.0.0.1]"):
            with pytest.raises(httpx.ConnectError):
                await client.get(canary.url(host))

    assert canary.connections == 0


async def test_proxies_of_the_environment_are_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    async with serve(reply()) as proxy, serve(reply(204)) as target:
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "HTTPS_PROXY"):
            monkeypatch.setenv(name, proxy.url())
        async with build_client(build_policy(["127.0.0.1"])) as client:
            response = await client.get(target.url())

    assert response.status_code == 204
    assert proxy.connections == 0


async def test_a_redirect_to_an_inner_address_is_refused() -> None:
    async with serve(reply()) as inner:
        away = reply(302, headers=f"Location: {inner.url()}\r\n")
        names = Names({"outer.test": ["127.0.0.1"]})
        async with serve(away) as outer:
            policy = build_policy(["outer.test"])
            async with build_client(policy, resolve=names) as client:
                with pytest.raises(httpx.ConnectError):
                    await client.get(outer.url("outer.test"), follow_redirects=True)

    assert len(outer.requests) == 1
    assert inner.connections == 0


@pytest.mark.parametrize(
    "location", ["file:///etc/passwd", "ftp://127.0.0.1/", "http://u:p@127.0.0.1/"]
)
async def test_a_redirect_is_checked_like_the_first_url(location: str) -> None:
    away = reply(302, headers=f"Location: {location}\r\n")
    async with serve(away) as server, build_client(build_policy(["127.0.0.1"])) as client:
        with pytest.raises((httpx.UnsupportedProtocol, httpx.LocalProtocolError)):
            await client.get(server.url(), follow_redirects=True)

    assert len(server.requests) == 1


async def test_credentials_stay_behind_when_a_redirect_changes_the_host_even_on_the_way_back() -> (
    None
):
    sent = {
        "Authorization": "Bearer s3cret", "Cookie": "s3cret", "X-API-Key": "s3cret", "PRIVATE-TOKEN": "s3cret",
        "X-Vault": "s3cret", "Accept": "text/plain", "Idempotency-Key": "run:step",
    }  # fmt: skip
    names = Names({"a.test": ["127.0.0.1"], "b.test": ["127.0.0.1"]})
    async with serve(reply()) as home:
        back = reply(307, headers=f"Location: {home.url('a.test')}\r\n")
        async with serve(back) as other:
            away = reply(307, headers=f"Location: {other.url('b.test')}\r\n")
            home.answers = [away, reply()]
            policy = build_policy(["a.test", "b.test"])
            async with build_client(policy, resolve=names) as client:
                response = await client.post(
                    home.url("a.test"), headers=sent, content=b"body", follow_redirects=True
                )

    assert response.status_code == 200
    assert home.requests[0].count(b"s3cret") == 5
    for request in (other.requests[0], home.requests[1]):
        assert b"s3cret" not in request
        assert b"Idempotency-Key: run:step" in request
        assert request.endswith(b"\r\n\r\nbody")


async def test_credentials_go_along_within_a_host() -> None:
    async with (
        serve(reply(307, headers="Location: /next\r\n"), reply()) as server,
        build_client(build_policy(["127.0.0.1"])) as client,
    ):
        await client.get(server.url(), headers={"X-API-Key": "k"}, follow_redirects=True)

    assert all(b"X-API-Key: k" in request for request in server.requests)


async def test_five_redirects_are_followed_at_most() -> None:
    async with (
        serve(reply(302, headers="Location: /again\r\n")) as server,
        build_client(build_policy(["127.0.0.1"])) as client,
    ):
        with pytest.raises(httpx.TooManyRedirects):
            await client.get(server.url(), follow_redirects=True)

    assert len(server.requests) == 6


async def test_cookies_of_one_call_are_not_sent_by_another() -> None:
    async with (
        serve(reply(headers="Set-Cookie: session=alice\r\n")) as server,
        build_client(build_policy(["127.0.0.1"])) as client,
    ):
        await client.get(server.url())
        await client.get(server.url())

    assert b"alice" not in server.requests[1]


async def test_connections_are_kept_and_used_again() -> None:
    async with (
        serve(reply(body=b"x")) as server,
        build_client(build_policy(["127.0.0.1"])) as client,
    ):
        for _ in range(5):
            await client.get(server.url())
        await asyncio.gather(*(client.get(server.url()) for _ in range(5)))
        await asyncio.gather(*(client.get(server.url()) for _ in range(5)))

    assert len(server.requests) == 15
    assert server.connections <= 5


async def test_a_connection_that_the_server_closed_is_not_used_again() -> None:
    async def answer_and_close(writer: asyncio.StreamWriter) -> None:
        writer.write(reply(body=b"x"))
        writer.close()
        await writer.wait_closed()

    async with (
        serve(answer_and_close) as server,
        build_client(build_policy(["127.0.0.1"])) as client,
    ):
        responses = [await client.get(server.url()) for _ in range(3)]

    assert [response.content for response in responses] == [b"x"] * 3
    assert server.connections == 3


async def test_idle_connections_are_closed_after_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool, "KEEP_ALIVE_SECONDS", 0.0)
    async with (
        serve(reply(body=b"x")) as server,
        serve(reply(body=b"x")) as other,
        build_client(build_policy(["127.0.0.1"])) as client,
    ):
        await client.get(server.url())
        await client.get(other.url())
        async with asyncio.timeout(5):
            await server.closed.wait()

    assert server.connections == 1


async def test_a_held_call_opens_no_connection_not_even_to_ask_for_an_address(
    names: Names, network: NoNetwork
) -> None:
    held = Held("kill_switch", "1", "kill_switch", "Stopped by a kill switch: fire drill")
    async with build_client(
        build_policy([]), resolve=names, network=network, ask=lambda: held
    ) as client:
        with pytest.raises(CallHeld, match="fire drill"):
            await client.get("http://example.com/")

    assert (names.asked, network.targets) == ([], [])
