"""The migration of webhook settings, with rows in the tables."""

from sqlalchemy import Connection, text

from app.core.clock import SystemClock
from app.core.ids import new_id
from app.core.statuses import Role
from app.db.base import make_engine
from app.db.migrate import downgrade, upgrade
from app.db.session import transaction
from app.models import User

BEFORE = "0013"
INSERT = """
    INSERT INTO workflows (id, owner_id, name, description, enabled, version, revision, webhook_auth, webhook_serial,
                           dedupe_by_input, created_at, updated_at)
    VALUES (:id, :owner, :name, '', true, 1, 1, :auth, 3, false, '2026-01-01', '2026-01-01')
"""


def _auths(connection: Connection) -> dict[str, tuple[str, int]]:
    rows = connection.execute(text("SELECT name, webhook_auth, webhook_serial FROM workflows"))
    return {row.name: (row.webhook_auth, row.webhook_serial) for row in rows}


def test_webhooks_stay_as_they_are_and_never_become_more_open(database_url: str) -> None:
    engine = make_engine(database_url)
    owner = User(
        id=new_id(),
        email="a@b.c",
        password_hash="",
        role=Role.ADMIN,
        created_at=SystemClock().now(),
    )
    with transaction(engine) as session:
        session.add(owner)
        session.flush()
        for auth in ("token", "open", "signature", "api_key"):
            values = {"id": new_id(), "owner": owner.id, "name": auth, "auth": auth}
            session.connection().execute(text(INSERT), values)

    downgrade(engine, BEFORE)
    with engine.connect() as connection:
        before = _auths(connection)
    upgrade(database_url)
    with engine.connect() as connection:
        after = _auths(connection)
        taken = connection.execute(text("SELECT * FROM webhook_deliveries")).all()
    engine.dispose()

    closed = ("token", 3)
    assert before == {"token": closed, "open": ("open", 3), "signature": closed, "api_key": closed}
    assert (after, taken) == (before, [])
