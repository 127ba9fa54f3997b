"""Teams that own things together, and workflows that are shared with somebody. A team's id is an `owner_id` as a user's is."""

from datetime import datetime

from sqlalchemy import CheckConstraint, Index
from sqlmodel import Field, SQLModel

from app.core.permissions import TeamRole
from app.db.types import Id, Status, UtcDateTime, one_of


class Team(SQLModel, table=True):
    """People who own workflows together. The row outlives the team, for the history that it owns."""

    __tablename__ = "teams"

    id: str = Field(primary_key=True, sa_type=Id)
    name: str = Field(max_length=100)
    created_by: str = Field(sa_type=Id)
    created_at: datetime = Field(sa_type=UtcDateTime)
    deleted_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    deleted_by: str | None = Field(default=None, sa_type=Id)


class TeamName(SQLModel, table=True):
    """A name that a team has or once had, in lower case.

    It becomes another team's only when the earlier one is deleted, and by whoever deleted it: definitions name approvers as
    `team:<name>`, and nobody else may step into that by taking a name that has become free.
    """

    __tablename__ = "team_names"
    __table_args__ = (Index("team_names_by_team", "team_id"),)

    name: str = Field(primary_key=True, max_length=300)
    team_id: str = Field(sa_type=Id, foreign_key="teams.id")


class TeamMember(SQLModel, table=True):
    """What one person may do with what a team owns."""

    __tablename__ = "team_members"
    __table_args__ = (
        CheckConstraint(one_of("role", TeamRole), name="team_members_role"),
        Index("team_members_by_user", "user_id", "team_id"),
    )

    team_id: str = Field(primary_key=True, sa_type=Id, foreign_key="teams.id")
    user_id: str = Field(primary_key=True, sa_type=Id, foreign_key="users.id")
    role: TeamRole = Field(sa_type=Status(TeamRole))


class WorkflowShare(SQLModel, table=True):
    """What a person, or everybody in a team, may do with one workflow of another owner."""

    __tablename__ = "workflow_shares"
    __table_args__ = (
        CheckConstraint("role IN ('viewer', 'runner', 'editor')", name="workflow_shares_role"),
        Index("workflow_shares_by_grantee", "grantee_id", "workflow_id"),
    )

    workflow_id: str = Field(primary_key=True, sa_type=Id, foreign_key="workflows.id")
    grantee_id: str = Field(primary_key=True, sa_type=Id)
    role: TeamRole = Field(sa_type=Status(TeamRole))
    created_by: str = Field(sa_type=Id)
    created_at: datetime = Field(sa_type=UtcDateTime)
