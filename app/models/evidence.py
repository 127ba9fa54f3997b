"""What a run can show for itself."""

from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, Index
from sqlmodel import Field, SQLModel

from app.db.types import Id, Json, UtcDateTime


class Evidence(SQLModel, table=True):
    """Something that a step has put on record. `sha256` is that of the content as canonical JSON, or of the artifact."""

    __tablename__ = "evidence"
    __table_args__ = (Index("evidence_by_run", "run_id", "id"),)

    id: str = Field(primary_key=True, sa_type=Id)
    run_id: str = Field(sa_type=Id)
    path: str = Field(max_length=500)
    attempt: int
    kind: str = Field(max_length=100)
    title: str = Field(default="", max_length=500)
    content: Any = Field(default=None, sa_type=Json, nullable=True)
    artifact: str | None = Field(default=None, max_length=64)
    artifact_bytes: int | None = Field(default=None, sa_type=BigInteger)
    sha256: str = Field(max_length=64)
    at: datetime = Field(sa_type=UtcDateTime)
