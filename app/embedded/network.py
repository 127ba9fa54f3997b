"""Questions to the network that need no client library: is a port free, does a server answer."""

import errno
import socket
from urllib.parse import parse_qs, unquote, urlsplit

from app.core.errors import ConfigurationError

CONNECT_SECONDS = 5.0
PROBE_SECONDS = 2.0
DEFAULT_PORTS = {"postgresql": 5432, "redis": 6379, "rediss": 6379}


def require_free_port(host: str, port: int) -> None:
    """Refuse a HOST and PORT that the API could not listen on.

    Raises:
        ConfigurationError: with what to change.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        with socket.socket(family, kind, protocol) as listener:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(address)
    except OSError as error:
        raise ConfigurationError(_why_not_free(host, port, error)) from None


def require_reachable(setting: str, url: str) -> None:
    """Refuse the address of a server at which nobody listens; what it takes to log in is not tried.

    Raises:
        ConfigurationError: with the address and the reason.
    """
    try:
        with _connect(url):
            return
    except ValueError:
        raise ConfigurationError(f"{setting} is no valid address: see .env.example.") from None
    except OSError as error:
        parts = urlsplit(url)
        place = parts.netloc.rpartition("@")[2] or unquote(parts.path)
        reason = error.strerror or str(error) or "no answer"
        raise ConfigurationError(
            f"{setting}: no server answers at {place} ({reason}): start it, correct the address, "
            "or unset it to use the embedded one."
        ) from None


def answers_ok(host: str, port: int, path: str) -> bool:
    """Tell whether GET answers 200."""
    request = f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    answer = b""
    try:
        with socket.create_connection((local_host(host), port), timeout=PROBE_SECONDS) as client:
            client.sendall(request.encode())
            while part := client.recv(4096):
                answer += part
    except OSError:
        return False
    return answer.split(b" ", 2)[1:2] == [b"200"]


def local_host(host: str) -> str:
    """Return an address under which this machine reaches what listens on `host`."""
    return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - nothing is bound here


def _connect(url: str) -> socket.socket:
    parts = urlsplit(url)
    if parts.scheme == "unix":
        client = socket.socket(socket.AF_UNIX)
        client.settimeout(CONNECT_SECONDS)
        client.connect(unquote(parts.path))
        return client
    scheme = parts.scheme.partition("+")[0]
    query = parse_qs(parts.query)
    host, port = parts.hostname or query.get("host", ["localhost"])[0], parts.port
    if host.startswith("/"):
        return _connect(f"unix://{host}/.s.PGSQL.{port or DEFAULT_PORTS[scheme]}")
    return socket.create_connection((host, port or DEFAULT_PORTS[scheme]), CONNECT_SECONDS)


def _why_not_free(host: str, port: int, error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return f"Port {port} on {host} is in use: stop what listens there, or set PORT to another."
    if error.errno == errno.EACCES:
        return f"Port {port} may not be used by this user: set PORT to one above 1023."
    return f"HOST={host} is no address of this machine ({error.strerror}): set HOST to one, such as 127.0.0.1."
