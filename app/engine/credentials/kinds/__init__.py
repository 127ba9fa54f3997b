"""The kinds of credentials, one file each: what its data holds, what of it is secret, how expressions see it."""

from collections.abc import Mapping
from typing import Final

from app.engine.credentials.kinds.api_key_header import ApiKeyHeader
from app.engine.credentials.kinds.basic import Basic
from app.engine.credentials.kinds.bearer import Bearer
from app.engine.credentials.kinds.data import CredentialData
from app.engine.credentials.kinds.database import Database
from app.engine.credentials.kinds.generic import Generic
from app.engine.credentials.kinds.hmac import Hmac
from app.engine.credentials.kinds.oauth2_client_credentials import OAuth2ClientCredentials
from app.engine.credentials.kinds.smtp import Smtp

__all__ = ["KINDS", "CredentialData"]

KINDS: Final[Mapping[str, type[CredentialData]]] = {
    kind.kind: kind
    for kind in (
        Bearer,
        Basic,
        ApiKeyHeader,
        Hmac,
        OAuth2ClientCredentials,
        Smtp,
        Database,
        Generic,
    )
}
