"""Who may log in."""

from datetime import datetime

from sqlalchemy import CheckConstraint
from sqlmodel import Field, SQLModel

from app.core.statuses import Role
from app.db.types import Id, Status, UtcDateTime, one_of


class User(SQLModel, table=True):
    """An account. `token_version` ends all older access tokens when it grows."""

    __tablename__ = "users"
    __table_args__ = (CheckConstraint(one_of("role", Role), name="users_role"),)

    id: str = Field(primary_key=True, sa_type=Id)
    email: str = Field(unique=True, max_length=320)
    password_hash: str
    role: Role = Field(sa_type=Status(Role))
    token_version: int = 0
    created_at: datetime = Field(sa_type=UtcDateTime)
