"""`basic`: a user name and a password for `Authorization: Basic …` (RFC 7617)."""

import base64
from collections.abc import Sequence
from typing import Annotated, ClassVar

from pydantic import StringConstraints

from app.engine.credentials.kinds.data import CredentialData, Secret


class Basic(CredentialData):
    """A user name and a password."""

    kind: ClassVar[str] = "basic"
    over_http: ClassVar[bool] = True
    username: Annotated[str, StringConstraints(max_length=1_024, pattern=r"^[^:\x00-\x1f\x7f]*$")]
    password: Secret

    def secrets(self) -> Sequence[str]:
        """Return the password, and what the header carries."""
        return (self.password, basic_value(self.username, self.password))


def basic_value(username: str, password: str) -> str:
    """Return what stands behind `Basic` in the header."""
    return base64.b64encode(f"{username}:{password}".encode()).decode()
