"""Addresses of callers, in one form: an IPv4 address that came over IPv6 is the IPv4 address."""

from functools import lru_cache
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_address,
    ip_network,
)
from typing import Final

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network
_MAPPED: Final = IPv6Network("::ffff:0:0/96")
_SITE_BITS: Final = 64
"""What one subscriber has of IPv6 at least: they can call from each of its addresses."""


@lru_cache(maxsize=4096)
def address_of(text: str) -> Address | None:
    """Return the address that a text stands for; None when it is none (a socket file, for example)."""
    try:
        address = ip_address(text)
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address


@lru_cache(maxsize=4096)
def network_of(text: str) -> Network:
    """Return the network of a CIDR, or of a single address.

    Raises:
        ValueError: it is neither; the sentence says why.
    """
    network = ip_network(text)
    if isinstance(network, IPv6Network) and network.subnet_of(_MAPPED):
        mapped = network.network_address.ipv4_mapped
        return IPv4Network((str(mapped), network.prefixlen - _MAPPED.prefixlen))
    return network


@lru_cache(maxsize=4096)
def counted_as(text: str) -> str:
    """Return under which name calls from an address are counted: of IPv6, all of a /64 together."""
    address = address_of(text)
    if isinstance(address, IPv6Address):
        return str(IPv6Network((int(address), _SITE_BITS), strict=False))
    return text if address is None else str(address)
