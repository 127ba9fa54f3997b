"""Teams come and go with the schema, with rows in the tables."""

from sqlalchemy import text
from sqlmodel import Session, select

from app.core.clock import SystemClock
from app.core.ids import new_id
from app.core.permissions import TeamRole
from app.core.statuses import Role
from app.db.base import make_engine
from app.db.migrate import downgrade, upgrade
from app.models import Event, Run, Schedule, Team, User, Workflow
from tests.integration.api.tenants import make_team, make_workflow

BEFORE = "0012"


def test_what_teams_own_goes_back_to_whoever_made_them(database_url: str) -> None:
    engine, user_id = make_engine(database_url), new_id()
    with Session(engine) as session:
        now = SystemClock().now()
        session.add(
            User(
                id=user_id,
                email="ada@example.com",
                password_hash="",
                role=Role.MEMBER,
                created_at=now,
            )
        )
        session.commit()
    team_id = make_team(engine, {user_id: TeamRole.OWNER})
    with Session(engine) as session:
        session.get_one(Team, team_id).created_by = user_id
        session.commit()
    make_workflow(engine, team_id, {})
    make_workflow(engine, user_id, {team_id: TeamRole.VIEWER})

    downgrade(engine, BEFORE)
    with engine.connect() as connection:
        broken = connection.execute(
            text("SELECT id FROM workflows WHERE owner_id NOT IN (SELECT id FROM users)")
        ).all()
    upgrade(database_url)

    with Session(engine) as session:
        owners = [session.exec(select(it.owner_id)).all() for it in (Workflow, Run, Schedule)]
        assert session.exec(select(Event.owner_id)).all() == [user_id]
    engine.dispose()
    assert broken == []
    assert owners == [[user_id] * 2] * 3
