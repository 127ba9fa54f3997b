"""`bearer`: a token for `Authorization: Bearer …`."""

from collections.abc import Sequence
from typing import ClassVar

from app.engine.credentials.kinds.data import CredentialData, HeaderSecret


class Bearer(CredentialData):
    """A token."""

    kind: ClassVar[str] = "bearer"
    over_http: ClassVar[bool] = True
    token: HeaderSecret

    def secrets(self) -> Sequence[str]:
        """Return the token."""
        return (self.token,)

    def in_expressions(self) -> str:
        """Return the token."""
        return self.token
