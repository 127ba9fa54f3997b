"""Which worker processes are alive."""

from datetime import datetime

from sqlmodel import Field, SQLModel

from app.db.types import Id, UtcDateTime


class Worker(SQLModel, table=True):
    """A worker process's lease. The row is gone once the worker has stopped or was taken for dead."""

    __tablename__ = "workers"

    id: str = Field(primary_key=True, sa_type=Id)
    host: str = Field(max_length=255)
    pid: int
    started_at: datetime = Field(sa_type=UtcDateTime)
    lease_expires_at: datetime = Field(sa_type=UtcDateTime)
