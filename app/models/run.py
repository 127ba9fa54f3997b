"""What happened: runs, the attempts at their steps, and their logs.

These tables take thousands of rows a second, so they carry no foreign keys: each would cost a look-up and a row lock
per insert. Runs are made by intake from a workflow that it has just read; steps and logs only under a fenced run.
"""

from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, CheckConstraint, Index, text
from sqlmodel import Field, SQLModel

from app.core.statuses import AttemptStatus, RunStatus, TriggerKind
from app.db.types import Id, Json, Status, UtcDateTime, one_of

_UNCLAIMED = text("worker_id IS NULL AND wake_at IS NOT NULL")
_CLAIMED = text("worker_id IS NOT NULL")
_KEYED = text("idempotency_key IS NOT NULL")
_KEY_EXPIRES = text("key_expires_at IS NOT NULL")
_HASHED = text("input_hash IS NOT NULL")
_SIGNALLED = text("signalled")
_PARKED = text("status IN ('waiting', 'paused')")
_HOOKED = text("hooks IS NOT NULL AND finished_at IS NOT NULL")
_HELD = text("held_by IS NOT NULL")
_HAS_PARENT = text("parent_run_id IS NOT NULL")
_QUEUED = text("status = 'queued'")


class Run(SQLModel, table=True):
    """One execution of one version.

    `worker_id` and `epoch` fence every write of its progress. `wake_at` is when a sweep may hand it to a worker: for a
    queued run the moment from which its hint counts as lost, for a waiting one the end of its wait. A large output lies in
    the artifact store: `output` is then null, `output_artifact` its SHA-256, `output_bytes` its size. `signalled` asks
    the worker that holds it to look again: a wait has ended. `control` tells the last pause, resume, cancel or retry: by
    whom, when and why. `started_by` is the e-mail address of the person who started it, or its first parent, by
    hand, by a schedule or by an event of theirs. `held_by` is the kill switch, or whatever else guards runs, that has paused it. `hooks` are still to be called once it has ended; null when there are none (left).
    """

    __tablename__ = "runs"
    __table_args__ = (
        CheckConstraint(one_of("status", RunStatus), name="runs_status"),
        CheckConstraint(one_of("trigger_kind", TriggerKind), name="runs_trigger_kind"),
        Index("runs_by_workflow", "workflow_id", "id"),
        Index("runs_by_owner", "owner_id", "id"),
        Index("runs_due", "wake_at", postgresql_where=_UNCLAIMED, sqlite_where=_UNCLAIMED),
        Index("runs_claimed", "worker_id", postgresql_where=_CLAIMED, sqlite_where=_CLAIMED),
        Index(
            "runs_idempotency",
            "workflow_id",
            "idempotency_key",
            unique=True,
            postgresql_where=_KEYED,
            sqlite_where=_KEYED,
        ),
        Index(
            "runs_key_expiry",
            "key_expires_at",
            postgresql_where=_KEY_EXPIRES,
            sqlite_where=_KEY_EXPIRES,
        ),
        Index(
            "runs_by_input",
            "workflow_id",
            "input_hash",
            postgresql_where=_HASHED,
            sqlite_where=_HASHED,
        ),
        Index("runs_signalled", "worker_id", postgresql_where=_SIGNALLED, sqlite_where=_SIGNALLED),
        Index("runs_parked", "status", postgresql_where=_PARKED, sqlite_where=_PARKED),
        Index(
            "runs_queued",
            "owner_id",
            "id",
            postgresql_where=_QUEUED,
            sqlite_where=_QUEUED,
        ),
        Index("runs_held", "held_by", postgresql_where=_HELD, sqlite_where=_HELD),
        Index("runs_hooked", "finished_at", postgresql_where=_HOOKED, sqlite_where=_HOOKED),
        Index(
            "runs_by_parent",
            "parent_run_id",
            postgresql_where=_HAS_PARENT,
            sqlite_where=_HAS_PARENT,
        ),
    )

    id: str = Field(primary_key=True, sa_type=Id)
    owner_id: str = Field(sa_type=Id)
    workflow_id: str = Field(sa_type=Id)
    version_id: str = Field(sa_type=Id)
    version: int
    trigger_kind: TriggerKind = Field(sa_type=Status(TriggerKind))
    status: RunStatus = Field(sa_type=Status(RunStatus))
    input: Any = Field(default=None, sa_type=Json, nullable=True)
    output: Any = Field(default=None, sa_type=Json, nullable=True)
    output_artifact: str | None = Field(default=None, max_length=64)
    output_bytes: int | None = Field(default=None, sa_type=BigInteger)
    error: Any = Field(default=None, sa_type=Json, nullable=True)
    waiting_for: Any = Field(default=None, sa_type=Json, nullable=True)
    idempotency_key: str | None = Field(default=None, max_length=255)
    worker_id: str | None = Field(default=None, sa_type=Id)
    epoch: int = 0
    wake_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    created_at: datetime = Field(sa_type=UtcDateTime)
    started_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    finished_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    signalled: bool = False
    depth: int = 0
    parent_run_id: str | None = Field(default=None, sa_type=Id)
    parent_path: str | None = Field(default=None, max_length=500)
    replay_of: str | None = Field(default=None, sa_type=Id)
    key_expires_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    input_hash: str | None = Field(default=None, max_length=64)
    context: Any = Field(default=None, sa_type=Json, nullable=True)
    response: Any = Field(default=None, sa_type=Json, nullable=True)
    control: Any = Field(default=None, sa_type=Json, nullable=True)
    hooks: Any = Field(default=None, sa_type=Json, nullable=True)
    started_by: str | None = Field(default=None, max_length=320)
    held_by: str | None = Field(default=None, sa_type=Id)


class StepAttempt(SQLModel, table=True):
    """One try at one step of one run, recorded before it starts. `seq` is its place in the order of starts.

    A large output lies in the artifact store, as a run's does. `input` is the config after its expressions; `wait` what a
    waiting step waits for. `changed` numbers the run's commits: it grows with every write. A `superseded` attempt is
    history: the step was retried by a person, and the run goes on without what came of it.
    """

    __tablename__ = "steps"
    __table_args__ = (CheckConstraint(one_of("status", AttemptStatus), name="steps_status"),)

    run_id: str = Field(primary_key=True, sa_type=Id)
    path: str = Field(primary_key=True, max_length=500)
    attempt: int = Field(primary_key=True)
    seq: int
    type: str = Field(max_length=100)
    status: AttemptStatus = Field(sa_type=Status(AttemptStatus))
    port: str | None = Field(default=None, max_length=100)
    input: Any = Field(default=None, sa_type=Json, nullable=True)
    wait: Any = Field(default=None, sa_type=Json, nullable=True)
    changed: int = Field(default=0, sa_type=BigInteger)
    superseded: bool = False
    output: Any = Field(default=None, sa_type=Json, nullable=True)
    output_artifact: str | None = Field(default=None, max_length=64)
    output_bytes: int | None = Field(default=None, sa_type=BigInteger)
    error: Any = Field(default=None, sa_type=Json, nullable=True)
    retry_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    started_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    finished_at: datetime | None = Field(default=None, sa_type=UtcDateTime)


class RunLog(SQLModel, table=True):
    """A line that a step wrote, stored together with its attempt's result."""

    __tablename__ = "run_logs"

    run_id: str = Field(primary_key=True, sa_type=Id)
    path: str = Field(primary_key=True, max_length=500)
    attempt: int = Field(primary_key=True)
    line: int = Field(primary_key=True)
    level: str = Field(max_length=10)
    message: str
    data: Any = Field(default=None, sa_type=Json, nullable=True)
    at: datetime = Field(sa_type=UtcDateTime)
