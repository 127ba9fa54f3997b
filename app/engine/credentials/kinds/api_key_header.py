"""`api_key_header`: a key that goes into a header of its own."""

from collections.abc import Sequence
from typing import ClassVar

from app.engine.credentials.kinds.data import CredentialData, HeaderName, HeaderSecret


class ApiKeyHeader(CredentialData):
    """A header and its value."""

    kind: ClassVar[str] = "api_key_header"
    over_http: ClassVar[bool] = True
    header: HeaderName
    value: HeaderSecret

    def secrets(self) -> Sequence[str]:
        """Return the value."""
        return (self.value,)

    def in_expressions(self) -> str:
        """Return the value."""
        return self.value
