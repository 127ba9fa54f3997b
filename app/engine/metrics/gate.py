"""Who may read the numbers: whoever has the token, or, when there is none, who comes from this machine or a private network."""

import hmac
from dataclasses import dataclass
from ipaddress import IPv6Address, ip_address

from app.core.errors import AutomateError, NotAuthenticated, PermissionDenied


@dataclass(frozen=True, slots=True)
class Reader:
    """Who asks. `forwarded_for` is what a proxy says of its client."""

    address: str | None
    authorization: str = ""
    forwarded_for: str | None = None


def refusal(reader: Reader, token: str | None) -> AutomateError | None:
    """Return why the reader may not see the numbers, or None."""
    if token is not None:
        given = reader.authorization.encode()
        if hmac.compare_digest(given, f"Bearer {token}".encode()):
            return None
        return NotAuthenticated("Send `Authorization: Bearer …` with the operator's METRICS_TOKEN.")
    if _is_near(reader):
        return None
    return PermissionDenied(
        "Metrics are shown to this machine and to private networks only: set METRICS_TOKEN, and send it as "
        "`Authorization: Bearer …`."
    )


def _is_near(reader: Reader) -> bool:
    if reader.forwarded_for is not None and reader.address not in reader.forwarded_for.split(", "):
        return False  # a proxy that is not among TRUSTED_PROXIES asks: for whom, nobody knows
    try:
        address = ip_address(reader.address or "")
    except ValueError:
        return False
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    return address.is_private and not address.is_unspecified
