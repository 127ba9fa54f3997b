"""Which addresses outbound calls may reach. Pure: names and addresses in, a verdict out."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_network,
)

from app.core.errors import ConfigurationError

IPAddress = IPv4Address | IPv6Address
IPNetwork = IPv4Network | IPv6Network

# Spelt out rather than taken from `ipaddress.is_global`, whose answers differ between Python versions.
NOT_PUBLIC_V4 = tuple(
    IPv4Network(text)
    for text in (
        "0.0.0.0/8",  # unspecified, "this network"
        "10.0.0.0/8",  # private
        "100.64.0.0/10",  # carrier-grade NAT; some clouds serve metadata here
        "127.0.0.0/8",  # loopback
        "168.63.129.16/32",  # Azure's host agent, on a public number
        "169.254.0.0/16",  # link-local; cloud metadata
        "172.16.0.0/12",  # private
        "192.0.0.0/24",  # protocol assignments; Oracle's metadata
        "192.0.2.0/24",  # documentation
        "192.31.196.0/24",  # AS112
        "192.52.193.0/24",  # AMT
        "192.88.99.0/24",  # 6to4 relays
        "192.168.0.0/16",  # private
        "192.175.48.0/24",  # AS112
        "198.18.0.0/15",  # benchmarks
        "198.51.100.0/24",  # documentation
        "203.0.113.0/24",  # documentation
        "224.0.0.0/4",  # multicast
        "240.0.0.0/4",  # reserved, broadcast
    )
)
# Only 2000::/3 is handed out for the internet. Outside it lie loopback, ULA, link- and site-local, multicast,
# v4-mapped, v4-compatible and NAT64.
GLOBAL_UNICAST_V6 = IPv6Network("2000::/3")
NOT_PUBLIC_V6 = tuple(
    IPv6Network(text)
    for text in (
        "2001::/23",  # protocol assignments: Teredo, ORCHID, benchmarks
        "2001:db8::/32",  # documentation
        "2002::/16",  # 6to4: carries an IPv4 address
        "2620:4f:8000::/48",  # AS112
        "3fff::/20",  # documentation
    )
)

_LABEL = r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?"
# The last label starts with a letter: what ends in a number is a misspelt address, not a name.
_HOST_NAME = re.compile(rf"({_LABEL}\.)*[a-z]([a-z0-9-]{{0,61}}[a-z0-9])?", re.ASCII)
_WITH_PORT = re.compile(r"(?P<target>\[[^\[\]]+\]|[^:\[\]]+):(?P<port>[0-9]{1,5})", re.ASCII)


@dataclass(frozen=True, slots=True)
class EgressPolicy:
    """What the operator opens beside the public internet; a port of None means every port."""

    hosts: frozenset[tuple[str, int | None]] = frozenset()
    networks: tuple[tuple[IPNetwork, int | None], ...] = ()

    def permits(self, host: str, port: int, addresses: Sequence[IPAddress]) -> bool:
        """Tell whether `host`, which resolves to `addresses`, may be called: all of them must be permitted."""
        if not addresses:
            return False
        return self._opens_host(host, port) or all(
            is_public(address) or self._opens_address(address, port) for address in addresses
        )

    def _opens_host(self, host: str, port: int) -> bool:
        name = host.lower().removesuffix(".")
        return (name, None) in self.hosts or (name, port) in self.hosts

    def _opens_address(self, address: IPAddress, port: int) -> bool:
        return any(
            address in network and only_port in (None, port) for network, only_port in self.networks
        )


def is_public(address: IPAddress) -> bool:
    """Tell whether an address belongs to the public internet and embeds no other address."""
    if isinstance(address, IPv4Address):
        return not any(address in network for network in NOT_PUBLIC_V4)
    return (
        address.scope_id is None
        and address in GLOBAL_UNICAST_V6
        and not any(address in network for network in NOT_PUBLIC_V6)
    )


def build_policy(egress_allow: Sequence[str]) -> EgressPolicy:
    """Read the operator's EGRESS_ALLOW: CIDRs, addresses or host names, each with an optional `:port`.

    Raises:
        ConfigurationError: an entry is none of these; it is named, with how to mend it.
    """
    hosts: set[tuple[str, int | None]] = set()
    networks: list[tuple[IPNetwork, int | None]] = []
    for entry in egress_allow:
        target, port = _split_port(entry.strip().lower())
        network = _read_network(entry, target)
        if network is not None:
            networks.append((network, port))
        elif _HOST_NAME.fullmatch(target.removesuffix(".")):
            hosts.add((target.removesuffix("."), port))
        else:
            raise _misspelt(entry, "write a CIDR such as 10.0.0.0/8, an address, or a host name")
    return EgressPolicy(frozenset(hosts), tuple(networks))


def _split_port(entry: str) -> tuple[str, int | None]:
    match = _WITH_PORT.fullmatch(entry)
    if match is None:
        return _without_brackets(entry), None
    port = int(match["port"])
    if not 1 <= port <= 65_535:
        raise _misspelt(entry, "a port lies between 1 and 65535")
    return _without_brackets(match["target"]), port


def _without_brackets(target: str) -> str:
    return target[1:-1] if target.startswith("[") and target.endswith("]") else target


def _read_network(entry: str, target: str) -> IPNetwork | None:
    if "%" in target:
        raise _misspelt(entry, "leave the zone out: link-local addresses cannot be opened by zone")
    try:
        return ip_network(target)
    except ValueError as error:
        if "host bits" in str(error):
            whole = ip_network(target, strict=False)
            raise _misspelt(entry, f"write {whole} for the range, or the address alone") from None
        return None


def _misspelt(entry: str, advice: str) -> ConfigurationError:
    return ConfigurationError(f"EGRESS_ALLOW: {entry!r} does not hold: {advice}.")
