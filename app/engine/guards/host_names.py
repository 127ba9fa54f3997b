"""Names of hosts as policies compare them. (Light to load: child processes use it.)"""

import re
import socket
from collections.abc import Sequence

_ODD_ADDRESS = re.compile(r"[0-9a-fx.]+", re.ASCII)


def plain_host(text: str) -> str:
    """Return a host in the one spelling in which policies compare them: lower case, ASCII, addresses in full."""
    host = text.strip().lower().removesuffix(".").removeprefix("[").removesuffix("]")
    if not host.isascii():
        try:
            host = host.encode("idna").decode()
        except UnicodeError:
            return host
    if ":" in host:
        return _plain_ipv6(host)
    if _ODD_ADDRESS.fullmatch(host) and any(character.isdigit() for character in host):
        try:
            return socket.inet_ntoa(socket.inet_aton(host))
        except OSError:
            return host
    return host


def _plain_ipv6(host: str) -> str:
    try:
        return socket.inet_ntop(socket.AF_INET6, socket.inet_pton(socket.AF_INET6, host))
    except OSError:
        return host


def among(host: str, patterns: Sequence[str]) -> bool:
    """Tell whether one of the patterns stands for a host."""
    return any(covers(pattern, host) for pattern in patterns)


def covers(pattern: str, host: str) -> bool:
    """Tell whether a pattern stands for a host, or for all that another pattern stands for."""
    return pattern == host or (pattern.startswith("*.") and host.endswith(pattern[1:]))
