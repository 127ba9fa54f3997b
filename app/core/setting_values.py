"""What settings may hold where their type does not say it: how each is read from text, and what it must be."""

import re
from ipaddress import ip_network
from typing import Annotated, Final

from pydantic import AfterValidator, BeforeValidator
from pydantic_settings import NoDecode

from app.core.statuses import Role

_ISSUER: Final = re.compile(
    r"(https://[^/?#@\s]+|http://(127\.0\.0\.1|localhost)(:[0-9]+)?)(/[^?#\s]*)?"
)


def _split_commas(value: object) -> object:
    if isinstance(value, str):
        return tuple(part.strip() for part in value.split(",") if part.strip())
    return value


def _addresses(value: tuple[str, ...]) -> tuple[str, ...]:
    for entry in value:
        try:
            ip_network(entry)
        except ValueError:
            raise ValueError(
                f"{entry!r} is neither an address nor a CIDR such as 10.0.0.0/8"
            ) from None
    return value


def _roles(value: tuple[str, ...]) -> tuple[str, ...]:
    for entry in value:
        group, _, role = entry.rpartition("=")
        if not group or role not in [*Role]:
            raise ValueError(
                f"{entry!r} is not written `group=role`; the roles are {', '.join(Role)}"
            )
    return value


def _issuer(value: str) -> str:
    if not _ISSUER.fullmatch(value):
        raise ValueError(
            "must be an https:// address without query (http:// for 127.0.0.1 and localhost only)"
        )
    return value


def _scopes(value: str) -> str:
    if "openid" not in value.split():
        raise ValueError("must name `openid`")
    return value


CommaSeparated = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_split_commas)]
Addresses = Annotated[CommaSeparated, AfterValidator(_addresses)]
RoleMap = Annotated[CommaSeparated, AfterValidator(_roles)]
Issuer = Annotated[str, AfterValidator(_issuer)]
OidcScopes = Annotated[str, AfterValidator(_scopes)]
