"""The schema of accounts goes up and down with rows in its tables."""

from sqlalchemy import inspect, text
from sqlmodel import Session

from app.core.clock import SystemClock
from app.core.ids import new_id
from app.core.statuses import Role
from app.db.base import make_engine
from app.db.migrate import downgrade, upgrade
from app.models import ApiKey, Invitation, RefreshToken, User, UserIdentity, UserSession

BEFORE = "0007"
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
        assert TABLES <= {*inspect(connection).get_table_names()}
    engine.dispose()
    assert tuple(row) == ("", 1)  # a closed account stays shut, for want of a password
    assert active


def _fill(session: Session) -> None:
    now, ids = SystemClock().now(), [new_id() for _ in range(5)]
    user = User(
        id=ids[0],
        email="a@example.com",
        password_hash="x",
        role=Role.OPERATOR,
        created_at=now,
        active=False,
    )
    session.add(user)
    session.flush()
    times = {"created_at": now, "refreshed_at": now, "expires_at": now}
    session.add(UserSession(id=ids[1], user_id=user.id, token_version=0, **times))
    key = {"user_id": user.id, "name": "x", "digest": "d", "scopes": [], "created_at": now}
    session.add(ApiKey(id=ids[2], **key))
    session.flush()
    session.add(ApiKey(id=ids[3], parent_id=ids[2], **key))
    session.add(RefreshToken(digest="d", session_id=ids[1], expires_at=now))
    session.add(
        Invitation(
            id=ids[4],
            digest="d",
            role=Role.ADMIN,
            invited_by=user.id,
            created_at=now,
            expires_at=now,
        )
    )
    session.add(UserIdentity(issuer="i", subject="s", user_id=user.id, created_at=now))
    session.commit()
