"""What belongs to an account: sessions, API keys, identities at a provider; and invitations to make one."""

from datetime import datetime
from typing import Any

from sqlalchemy import CheckConstraint, Index
from sqlmodel import Field, SQLModel

from app.core.statuses import Role
from app.db.types import Id, Json, Status, UtcDateTime, one_of

DIGEST_LENGTH = 64


class UserSession(SQLModel, table=True):
    """One sign-in: the family of refresh tokens that came from it. Counts while `token_version` is the account's."""

    __tablename__ = "sessions"
    __table_args__ = (
        Index("sessions_by_user", "user_id", "id"),
        Index("sessions_expiry", "expires_at"),
    )

    id: str = Field(primary_key=True, sa_type=Id)
    user_id: str = Field(sa_type=Id, foreign_key="users.id", ondelete="CASCADE")
    token_version: int
    address: str | None = Field(default=None, max_length=64)
    user_agent: str | None = Field(default=None, max_length=200)
    created_at: datetime = Field(sa_type=UtcDateTime)
    refreshed_at: datetime = Field(sa_type=UtcDateTime)
    expires_at: datetime = Field(sa_type=UtcDateTime)


class RefreshToken(SQLModel, table=True):
    """A refresh token, as its SHA-256. A used one is kept until it expires: to see it again means that it was stolen."""

    __tablename__ = "refresh_tokens"
    __table_args__ = (Index("refresh_tokens_by_session", "session_id", "expires_at"),)

    digest: str = Field(primary_key=True, max_length=DIGEST_LENGTH)
    session_id: str = Field(sa_type=Id, foreign_key="sessions.id", ondelete="CASCADE")
    expires_at: datetime = Field(sa_type=UtcDateTime)
    used_at: datetime | None = Field(default=None, sa_type=UtcDateTime)


class ApiKey(SQLModel, table=True):
    """A key that stands for its account, within `scopes`. The key itself is known to whoever made it only.

    `parent_id` is the key that it was made with: keys made by a stolen one go with it.
    """

    __tablename__ = "api_keys"
    __table_args__ = (
        Index("api_keys_by_user", "user_id", "id"),
        Index("api_keys_by_parent", "parent_id"),
    )

    id: str = Field(primary_key=True, sa_type=Id)
    user_id: str = Field(sa_type=Id, foreign_key="users.id", ondelete="CASCADE")
    parent_id: str | None = Field(
        default=None, sa_type=Id, foreign_key="api_keys.id", ondelete="CASCADE"
    )
    name: str = Field(max_length=200)
    digest: str = Field(max_length=DIGEST_LENGTH)
    scopes: Any = Field(sa_type=Json)
    created_at: datetime = Field(sa_type=UtcDateTime)
    expires_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    last_used_at: datetime | None = Field(default=None, sa_type=UtcDateTime)


class Invitation(SQLModel, table=True):
    """The right to make one account, with a role. Gone once it is accepted, withdrawn or expired."""

    __tablename__ = "invitations"
    __table_args__ = (
        CheckConstraint(one_of("role", Role), name="invitations_role"),
        Index("invitations_expiry", "expires_at"),
    )

    id: str = Field(primary_key=True, sa_type=Id)
    digest: str = Field(unique=True, max_length=DIGEST_LENGTH)
    email: str | None = Field(default=None, max_length=320)
    role: Role = Field(sa_type=Status(Role))
    invited_by: str = Field(sa_type=Id)
    created_at: datetime = Field(sa_type=UtcDateTime)
    expires_at: datetime = Field(sa_type=UtcDateTime)


class UserIdentity(SQLModel, table=True):
    """Who an account is at a provider of OpenID Connect."""

    __tablename__ = "user_identities"
    __table_args__ = (Index("user_identities_by_user", "user_id"),)

    issuer: str = Field(primary_key=True, max_length=500)
    subject: str = Field(primary_key=True, max_length=255)
    user_id: str = Field(sa_type=Id, foreign_key="users.id", ondelete="CASCADE")
    created_at: datetime = Field(sa_type=UtcDateTime)
