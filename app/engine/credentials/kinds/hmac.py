"""`hmac`: a secret that signs the body of a request."""

from collections.abc import Sequence
from typing import ClassVar, Literal

from app.engine.credentials.kinds.data import CredentialData, HeaderName, Secret


class Hmac(CredentialData):
    """A secret, and how it signs: `<algorithm>=<hex>` over the raw body, in a header."""

    kind: ClassVar[str] = "hmac"
    over_http: ClassVar[bool] = True
    secret: Secret
    header: HeaderName = "X-Signature-256"
    algorithm: Literal["sha256", "sha384", "sha512"] = "sha256"

    def secrets(self) -> Sequence[str]:
        """Return the secret."""
        return (self.secret,)

    def in_expressions(self) -> str:
        """Return the secret."""
        return self.secret
