"""Wire forms of credentials. What they hold comes in, and never goes out."""

import ipaddress
import re
from datetime import datetime
from typing import Annotated, Any, Literal

import httpx
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints

from app.engine.credentials.credential import ANY_HOST
from app.engine.credentials.kinds import KINDS
from app.schemas.common import EXAMPLE_ID, Input, ObjectId
from app.schemas.workflow import Description

MAX_HOSTS = 50
_LABELS = re.compile(r"([a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?\.)*[a-z]([a-z0-9-]{0,61}[a-z0-9])?")
_ADVICE = "must be a host name such as api.example.com, an address, or *.example.com for all hosts below one; without a port"


def _host(text: str) -> str:
    """Return a host as it goes over the wire, in lower case."""
    if text == ANY_HOST:
        return text
    wildcard, name = text.startswith("*."), text.removeprefix("*.").removesuffix(".")
    try:
        if ":" in name:
            return _require(str(ipaddress.IPv6Address(name.strip("[]"))), not wildcard)
        name = httpx.URL(scheme="https", host=name).raw_host.decode().lower()
    except (ValueError, httpx.InvalidURL):
        raise ValueError(_ADVICE) from None
    if wildcard:
        return "*." + _require(name, _LABELS.fullmatch(name) is not None and "." in name)
    return _require(name, _is_address(name) or _LABELS.fullmatch(name) is not None)


def _require(host: str, holds: bool) -> str:
    if not holds:
        raise ValueError(_ADVICE)
    return host


def _is_address(name: str) -> bool:
    try:
        ipaddress.IPv4Address(name)
    except ValueError:
        return False
    return True


CredentialLabel = Annotated[
    str,
    StringConstraints(
        strip_whitespace=True,
        max_length=100,
        pattern=r"^[A-Za-z0-9_]([A-Za-z0-9_ .-]*[A-Za-z0-9_])?$",
    ),
    Field(
        description="How workflows name it: letters, digits, `_`, `-`, `.` and blanks.",
        examples=["crm"],
    ),
]
Kind = Literal[
    "bearer",
    "basic",
    "api_key_header",
    "hmac",
    "oauth2_client_credentials",
    "smtp",
    "database",
    "generic",
]
Host = Annotated[str, StringConstraints(max_length=260), AfterValidator(_host)]
Hosts = Annotated[
    list[Host],
    Field(
        max_length=MAX_HOSTS,
        description="Where it may be sent over HTTP: host names, addresses, `*.example.com`, or `*` for any host that its "
        "owner's steps call. An empty list: nowhere, which only kinds that are not sent over HTTP can have.",
        examples=[["api.example.com"]],
    ),
]
DATA = (
    "What it holds; never shown again. `bearer`: `{token}`; `basic`: `{username, password}`; `api_key_header`: `{header, value}`; "
    "`hmac`: `{secret, header?, algorithm?}`; `oauth2_client_credentials`: `{token_url, client_id, client_secret, scope?, "
    "audience?}`; `smtp`: `{host, port, username, password, tls?}`; `database`: `{url}`; `generic`: any fields of text. "
    "Secret values have at least 6 characters."
)
Data = Annotated[
    dict[str, Any],
    Field(
        description=DATA, json_schema_extra={"writeOnly": True}, examples=[{"token": "t0ps3cret"}]
    ),
]


def _data_by_kind(schema: dict[str, Any]) -> None:
    """Say in the schema of a credential what its data is, for each kind: its own checks follow when it is saved."""
    or_null = [] if "data" in schema["required"] else [{"type": "null"}]
    schema["oneOf"] = [
        {
            "title": kind,
            "properties": {
                "kind": {"const": kind},
                "data": {"anyOf": [model.model_json_schema(), *or_null]},
            },
        }
        for kind, model in KINDS.items()
    ]


class CredentialDraft(Input):
    """A credential to keep."""

    model_config = ConfigDict(json_schema_extra=_data_by_kind)

    name: CredentialLabel
    kind: Kind = Field(description="What it is for.", examples=["bearer"])
    data: Data = Field(repr=False)
    allowed_hosts: Hosts = [ANY_HOST]
    description: Description = Field(default="", description="For people.")
    team: ObjectId | None = Field(
        default=None, description="Id of the team that is to own it; null: you do."
    )


class CredentialChanges(Input):
    """A credential as it is to be. What is left out keeps its value."""

    model_config = ConfigDict(json_schema_extra=_data_by_kind)

    name: CredentialLabel
    kind: Kind = Field(description="What it is for.", examples=["bearer"])
    data: Data | None = Field(
        default=None,
        repr=False,
        description=f"{DATA} Null keeps it; to change the kind, or to allow more hosts, it has to be given again.",
    )
    allowed_hosts: Hosts | None = Field(default=None, description="Null keeps them.")
    description: Description | None = Field(default=None, description="For people; null keeps it.")
    team: ObjectId | None = Field(
        default=None, description="Its team, as it is: a credential stays with its owner."
    )


class CredentialForm(BaseModel):
    """A credential, without what it holds."""

    id: str = Field(examples=[EXAMPLE_ID])
    name: str = Field(examples=["crm"])
    kind: str = Field(examples=["bearer"])
    allowed_hosts: list[str] = Field(examples=[["api.example.com"]])
    description: str
    team: str | None = Field(description="Id of the team that owns it; null: you do.")
    created_by: str = Field(description="Id of the user who made it.", examples=[EXAMPLE_ID])
    created_at: datetime
    updated_at: datetime
    last_used_at: datetime | None = Field(description="To the minute; null: never.")
    revision: int = Field(description="Grows with every change.", examples=[1])
