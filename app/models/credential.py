"""What users and teams keep in the vault."""

from datetime import datetime
from typing import Any

from sqlalchemy import UniqueConstraint
from sqlmodel import Field, SQLModel

from app.db.types import Id, Json, UtcDateTime


class Credential(SQLModel, table=True):
    """A secret that workflows use by its name. The data is encrypted, under the key `key_id`, and bound to id and owner."""

    __tablename__ = "credentials"
    __table_args__ = (UniqueConstraint("owner_id", "name", name="credentials_name"),)

    id: str = Field(primary_key=True, sa_type=Id)
    owner_id: str = Field(sa_type=Id)
    """A user's or a team's."""
    name: str = Field(max_length=100)
    kind: str = Field(max_length=40)
    ciphertext: bytes
    key_id: str = Field(max_length=32, index=True)
    allowed_hosts: Any = Field(sa_type=Json)
    description: str = Field(default="", max_length=2000)
    revision: int = 1
    created_by: str = Field(sa_type=Id)
    created_at: datetime = Field(sa_type=UtcDateTime)
    updated_at: datetime = Field(sa_type=UtcDateTime)
    last_used_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
