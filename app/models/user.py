"""Who may log in."""

from datetime import datetime

from sqlalchemy import CheckConstraint, true
from sqlmodel import Field, SQLModel

from app.core.statuses import Role
from app.db.types import Id, Status, UtcDateTime, one_of


class User(SQLModel, table=True):
    """An account. `token_version` ends all older access tokens and sessions when it grows.

    Without a password hash, it is signed in to through a provider only. One that is not `active` is closed.
    """

    __tablename__ = "users"
    __table_args__ = (CheckConstraint(one_of("role", Role), name="users_role"),)

    id: str = Field(primary_key=True, sa_type=Id)
    email: str = Field(unique=True, max_length=320)
    password_hash: str
    role: Role = Field(sa_type=Status(Role))
    token_version: int = 0
    active: bool = Field(default=True, sa_column_kwargs={"server_default": true()})
    created_at: datetime = Field(sa_type=UtcDateTime)
