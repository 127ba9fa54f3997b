"""The schema of accounts goes up and down with rows in its tables."""

from sqlalchemy import inspect, text
from sqlmodel import Session

from app.core.clock import SystemClock
from app.core.ids import new_id
from app.core.statuses import Role
from app.db.base import make_engine
from app.db.migrate import downgrade, upgrade
from app.models import ApiKey, Invitation, RefreshToken, User, UserIdentity, UserSession

BEFORE = "0008"
TABLES = {"sessions", "refresh_tokens", "api_keys", "invitations", "user_identities"}


def test_accounts_go_up_and_down_with_rows(database_url: str) -> None:
    engine = make_engine(database_url)
    with Session(engine) as session:
        _fill(session)

    downgrade(engine, BEFORE)

    with engine.connect() as connection:
        assert not TABLES & {*inspect(connection).get_table_names()}
        row = connection.execute(text("SELECT password_hash, token_version FROM users")).one()
    upgrade(database_url)
    with engine.connect() as connection:
        active = connection.execute(text("SELECT active FROM users")).scalar_one()
        assert {*inspect(connection).get_table_names()} >= TABLES
    engine.dispose()
    assert tuple(row) == ("", 1)  # a closed account stays shut, for want of a password
    assert active


def _fill(session: Session) -> None:
    now, ids = SystemClock().now(), [new_id() for _ in range(4)]
    session.add(
        User(
            id=ids[0],
            email="a@example.com",
            password_hash="x",
            role=Role.OPERATOR,
            created_at=now,
            active=False,
        )
    )
    session.flush()
    session.add(
        UserSession(
            id=ids[1],
            user_id=ids[0],
            token_version=0,
            created_at=now,
            refreshed_at=now,
            expires_at=now,
        )
    )
    session.flush()
    for key_id, parent_id in ((ids[1], None), (ids[2], ids[1])):
        session.add(
            ApiKey(
                id=key_id,
                user_id=ids[0],
                parent_id=parent_id,
                name="x",
                digest="d",
                scopes=[],
                created_at=now,
            )
        )
        session.flush()
    session.add(RefreshToken(digest="d", session_id=ids[1], expires_at=now))
    session.add(
        Invitation(
            id=ids[3],
            digest="d",
            role=Role.ADMIN,
            invited_by=ids[0],
            created_at=now,
            expires_at=now,
        )
    )
    session.add(UserIdentity(issuer="i", subject="s", user_id=ids[0], created_at=now))
    session.commit()
