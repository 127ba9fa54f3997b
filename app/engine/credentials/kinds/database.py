"""`database`: the address of a database, with user and password in it."""

from collections.abc import Sequence
from typing import ClassVar
from urllib.parse import unquote, urlsplit

from pydantic import field_validator

from app.engine.credentials.kinds.data import MIN_SECRET_CHARACTERS, CredentialData, Secret


class Database(CredentialData):
    """A URL such as `postgresql://user:password@host/name`."""

    kind: ClassVar[str] = "database"
    url: Secret

    @field_validator("url")
    @classmethod
    def _holds(cls, value: str) -> str:
        try:
            parts = urlsplit(value)
            password = unquote(parts.password or "")
        except ValueError:
            raise ValueError(
                "must be an address such as postgresql://user:password@host/name"
            ) from None
        if not parts.scheme:
            raise ValueError("must begin with the kind of database, such as postgresql://")
        if 0 < len(password) < MIN_SECRET_CHARACTERS:
            raise ValueError(f"must have a password of at least {MIN_SECRET_CHARACTERS} characters")
        return value

    def secrets(self) -> Sequence[str]:
        """Return the address and the password in it."""
        password = urlsplit(self.url).password
        return (self.url, *((password, unquote(password)) if password else ()))

    def in_expressions(self) -> str:
        """Return the address."""
        return self.url
