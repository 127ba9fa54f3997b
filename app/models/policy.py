"""Guardrails, and what is spent of budgets."""

from datetime import datetime
from typing import Any

from sqlalchemy import CheckConstraint, Index
from sqlmodel import Field, SQLModel

from app.db.types import Id, Json, UtcDateTime

LEVELS = "level IN ('platform', 'team', 'workflow')"


class Policy(SQLModel, table=True):
    """What holds on one level. `target_id` is a team's or workflow's id, all zeros for the platform.

    Never deleted: without rules it says nothing. `revision` grows with every change and is its ETag.
    """

    __tablename__ = "policies"
    __table_args__ = (CheckConstraint(LEVELS, name="policies_level"),)

    level: str = Field(primary_key=True, max_length=16)
    target_id: str = Field(primary_key=True, sa_type=Id)
    revision: int = 1
    rules: Any = Field(sa_type=Json)
    updated_at: datetime = Field(sa_type=UtcDateTime)
    updated_by: str | None = Field(default=None, max_length=320)


class PolicyRevision(SQLModel, table=True):
    """A policy as it was saved once: by whom (null: with the platform), and when."""

    __tablename__ = "policy_revisions"

    level: str = Field(primary_key=True, max_length=16)
    target_id: str = Field(primary_key=True, sa_type=Id)
    revision: int = Field(primary_key=True)
    rules: Any = Field(sa_type=Json)
    updated_at: datetime = Field(sa_type=UtcDateTime)
    updated_by: str | None = Field(default=None, max_length=320)


class BudgetSpend(SQLModel, table=True):
    """What one attempt has spent of one budget, written with its result: the key keeps it from counting twice."""

    __tablename__ = "budget_spend"
    __table_args__ = (
        Index("budget_spend_by_name", "name", "at"),
        Index("budget_spend_by_owner", "owner_id", "name", "at"),
        Index("budget_spend_by_workflow", "workflow_id", "name", "at"),
    )

    run_id: str = Field(primary_key=True, sa_type=Id)
    path: str = Field(primary_key=True, max_length=500)
    attempt: int = Field(primary_key=True)
    name: str = Field(primary_key=True, max_length=64)
    amount: float
    unit: str | None = Field(default=None, max_length=32)
    owner_id: str = Field(sa_type=Id)
    workflow_id: str = Field(sa_type=Id)
    at: datetime = Field(sa_type=UtcDateTime)
