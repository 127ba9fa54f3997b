"""`oauth2_client_credentials`: a client that gets itself access tokens (RFC 6749, section 4.4)."""

from collections.abc import Sequence
from typing import ClassVar

import httpx
from pydantic import field_validator

from app.engine.credentials.kinds.basic import basic_value
from app.engine.credentials.kinds.data import CredentialData, Plain, Secret


class OAuth2ClientCredentials(CredentialData):
    """A client, and where it gets its tokens. Nodes also see the `access_token`."""

    kind: ClassVar[str] = "oauth2_client_credentials"
    over_http: ClassVar[bool] = True
    token_url: str
    client_id: Plain
    client_secret: Secret
    scope: Plain | None = None
    audience: Plain | None = None

    @field_validator("token_url")
    @classmethod
    def _is_address(cls, value: str) -> str:
        try:
            url = httpx.URL(value)
        except (httpx.InvalidURL, ValueError):
            raise ValueError("must be an address such as https://login.example.com/token") from None
        if url.scheme not in {"http", "https"} or not url.host or url.userinfo:
            raise ValueError("must be an http or https address without a user name")
        return value

    def secrets(self) -> Sequence[str]:
        """Return the client's secret, and what the header carries."""
        return (self.client_secret, basic_value(self.client_id, self.client_secret))

    def hosts(self) -> Sequence[str]:
        """Return the host that gives the tokens."""
        return (httpx.URL(self.token_url).raw_host.decode(),)
