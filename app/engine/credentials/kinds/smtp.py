"""`smtp`: an account on a mail server."""

from collections.abc import Mapping, Sequence
from typing import ClassVar

from pydantic import Field

from app.engine.credentials.kinds.data import CredentialData, Plain, Secret


class Smtp(CredentialData):
    """A mail server and an account on it."""

    kind: ClassVar[str] = "smtp"
    host: Plain
    port: int = Field(ge=1, le=65_535)
    username: Plain
    password: Secret
    tls: bool = True

    def fields(self) -> Mapping[str, str]:
        """Return the fields; `tls` as `true` or `false`."""
        return {**super().fields(), "tls": "true" if self.tls else "false"}

    def secrets(self) -> Sequence[str]:
        """Return the password."""
        return (self.password,)
