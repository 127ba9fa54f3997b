"""Where sockets are opened: resolve once, check every answer, connect to an address that was checked."""

import asyncio
import socket
import ssl
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import suppress
from ipaddress import ip_address
from typing import Any, NoReturn

import httpcore

from app.core.logging import get_logger
from app.engine.egress.policy import EgressPolicy, IPAddress

Resolve = Callable[[str], Awaitable[Sequence[str]]]

_log = get_logger(__name__)


async def resolve_host(host: str) -> list[str]:
    """Return the addresses of a host name, in the system's order of preference.

    Raises:
        OSError: the name is not known.
    """
    answers = await asyncio.get_running_loop().getaddrinfo(host, None, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(sockaddr[0]) for *_, sockaddr in answers))


class GuardedBackend(httpcore.AsyncNetworkBackend):
    """Opens TCP connections to permitted addresses only.

    A blocked host, an unknown one and a refused connection raise the same error, so that a caller learns nothing
    about the inner network. The reason stands in the operator's log.
    """

    def __init__(
        self,
        policy: EgressPolicy,
        resolve: Resolve = resolve_host,
        network: httpcore.AsyncNetworkBackend | None = None,
    ) -> None:
        self._policy, self._resolve = policy, resolve
        self._network = network or httpcore.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 - httpcore's signature
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """Connect to the first permitted address of `host` that answers."""
        del local_address, socket_options
        try:
            async with asyncio.timeout(timeout) as scope:
                addresses = await self._permitted_addresses(host, port)
                stream = await self._connect_to_any(addresses, port, scope.when())
        except (TimeoutError, httpcore.ConnectTimeout):
            raise httpcore.ConnectTimeout(f"{host}:{port} did not answer in time.") from None
        if stream is None:
            raise httpcore.ConnectError(
                f"Could not connect to {host}:{port}. Check the address; inner addresses are reached only"
                " when the operator opens them (EGRESS_ALLOW)."
            )
        return _Stream(stream)

    async def connect_unix_socket(self, *_: Any, **__: Any) -> NoReturn:
        """Refuse: a local socket is never a target."""
        raise httpcore.ConnectError("Unix sockets cannot be called.")

    async def _permitted_addresses(self, host: str, port: int) -> list[IPAddress]:
        """Return what `host` resolves to; nothing when it is unknown, or when any of it is denied."""
        addresses = await self._addresses_of(host)
        if not self._policy.permits(host, port, addresses):
            found = [str(address) for address in addresses]
            _log.info("egress_denied", host=host, port=port, addresses=found)
            return []
        return addresses

    async def _addresses_of(self, host: str) -> list[IPAddress]:
        if "%" in host:  # a zone id, or an escape that no name can hold
            return []
        try:
            return [ip_address(host)]
        except ValueError:
            pass  # a name, or an odd spelling of an address, which resolves to the usual one
        try:
            return [ip_address(text) for text in await self._resolve(host)]
        except (OSError, ValueError):  # ValueError: a label that IDNA does not take
            return []

    async def _connect_to_any(
        self, addresses: Sequence[IPAddress], port: int, deadline: float | None
    ) -> httpcore.AsyncNetworkStream | None:
        """Try each address in turn, each with its share of the time that is left; None when all refuse."""
        now = asyncio.get_running_loop().time
        for position, address in enumerate(addresses):
            left = len(addresses) - position
            share = None if deadline is None else (deadline - now()) / left
            try:
                return await self._network.connect_tcp(str(address), port, timeout=share)
            except httpcore.ConnectTimeout:
                if left == 1:
                    raise
            except httpcore.ConnectError:
                continue
        return None


class _Stream(httpcore.AsyncNetworkStream):
    """A TCP or TLS stream that sends the head of a request together with the first part of its body.

    httpcore writes each by itself: two packets, and two turns of the event loop. And it forgets to close a connection whose
    TLS handshake is cancelled.
    """

    def __init__(self, stream: httpcore.AsyncNetworkStream) -> None:
        self._stream = stream
        self._head: bytes | None = None
        """The head of a request until it is sent, then nothing; None between two requests."""

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ASYNC109 - httpcore's signature
        if self._head:
            with suppress(httpcore.WriteError):  # as httpcore does: the answer may be there already
                await self.write(b"", timeout)
        self._head = None
        return await self._stream.read(max_bytes, timeout)

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ASYNC109 - httpcore's signature
        if self._head is None and buffer:
            self._head = buffer
            return
        together, self._head = (self._head or b"") + buffer, b""
        if together:
            await self._stream.write(together, timeout)

    async def aclose(self) -> None:
        await self._stream.aclose()

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)

    async def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,  # noqa: ASYNC109 - httpcore's signature
    ) -> httpcore.AsyncNetworkStream:
        try:
            return _Stream(await self._stream.start_tls(ssl_context, server_hostname, timeout))
        except asyncio.CancelledError:
            await self._stream.aclose()
            raise
