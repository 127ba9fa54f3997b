"""The second wall: on Postgres, a confined transaction sees and changes one tenant's rows, whatever is asked."""

from collections.abc import Iterator

import pytest
from sqlalchemy import Connection, Engine, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ProgrammingError
from sqlmodel import Session, select

from app.core.clock import SystemClock
from app.core.permissions import TeamRole
from app.core.statuses import Role
from app.db.base import make_engine
from app.db.tenancy import Tenancy, release
from app.models import Run, User, Workflow, WorkflowShare
from app.services.callers import caller_of
from app.services.run_lists import RunFilter
from app.services.runs import Runs
from tests.integration.db.history import write_history

ACROSS_TENANTS = frozenset(
    {
        "waits",  # the engine's alone
        "approvers",  # people are asked across tenants: app.engine.approvals.rules decides
        "approval_links",
        "webhook_deliveries",  # the desk's alone
        "budget_spend",  # what budgets are reckoned from: policies tell what is left
    }
)
"""Tables that belong to somebody, and that no tenant may read at all."""
EVERYBODYS = frozenset({"team_names"})
"""Approvals may ask any team by its name."""


@pytest.fixture(scope="module")
def engine(shared_postgres_url: str) -> Iterator[Engine]:
    engine = make_engine(shared_postgres_url)
    with engine.begin() as connection:
        write_history(connection)
    yield engine
    engine.dispose()


def _users(engine: Engine) -> tuple[User, User]:
    with Session(engine) as session:
        emails = ("user1@example.com", "user2@example.com")
        first, second = (
            session.exec(select(User).where(User.email == one)).one() for one in emails
        )
        return first, second


def _confined_to(engine: Engine, session: Session, user: User) -> None:
    Tenancy(engine).confine(session, [user.id], user.email)


def _owners(connection: Connection, table: str) -> set[str]:
    return {str(row) for row in connection.scalars(text(f"SELECT DISTINCT owner_id FROM {table}"))}


def test_a_query_that_forgets_to_ask_whose_finds_ones_own_rows(engine: Engine) -> None:
    ada, _ = _users(engine)

    with Session(engine) as session:
        _confined_to(engine, session, ada)
        found = {row.owner_id for row in session.exec(select(Run)).all()}
        found |= {row.owner_id for row in session.exec(select(Workflow)).all()}

    assert found == {ada.id}


def test_every_table_of_a_tenant_stands_behind_the_wall(engine: Engine) -> None:
    ada, _ = _users(engine)
    theirs = text(
        "SELECT DISTINCT table_name FROM information_schema.columns WHERE table_schema = 'public' AND column_name IN "
        "('owner_id', 'run_id', 'workflow_id', 'approval_id', 'team_id')"
    )
    with engine.connect() as connection:
        tables = {*connection.scalars(theirs)} - ACROSS_TENANTS - EVERYBODYS
        all_rows = {table: _count(connection, table) for table in tables}

    with Session(engine) as session:
        _confined_to(engine, session, ada)
        seen = {table: _count(session.connection(), table) for table in tables}

    assert {
        table for table in tables if all_rows[table] and seen[table] >= all_rows[table]
    } == set()
    assert seen["runs"] > 0
    assert seen["steps"] > 0


def test_who_is_nobody_sees_nothing(engine: Engine) -> None:
    with Session(engine) as session:
        Tenancy(engine).confine(session, [], "nobody@example.com")

        assert _count(session.connection(), "runs") == 0


def test_another_tenants_row_cannot_be_changed_or_taken(engine: Engine) -> None:
    ada, bob = _users(engine)

    with Session(engine) as session:
        _confined_to(engine, session, ada)
        connection = session.connection()
        changed = connection.execute(
            text("UPDATE workflows SET name = 'mine' WHERE owner_id = :bob"), {"bob": bob.id}
        )
        assert changed.rowcount == 0
        with pytest.raises(ProgrammingError, match="row-level security"):
            connection.execute(text("UPDATE workflows SET owner_id = :bob"), {"bob": bob.id})


@pytest.mark.parametrize(
    "forbidden",
    [
        "SELECT password_hash FROM users",
        "SELECT * FROM approval_links",
        "SELECT * FROM waits",
        "DELETE FROM runs",
        "UPDATE steps SET output = NULL",
        "TRUNCATE workflows",
        "ALTER TABLE runs DISABLE ROW LEVEL SECURITY",
    ],
)
def test_what_is_nobodys_business_is_refused(engine: Engine, forbidden: str) -> None:
    ada, _ = _users(engine)

    with Session(engine) as session:
        _confined_to(engine, session, ada)
        with pytest.raises(ProgrammingError, match=r"permission denied|must be owner"):
            session.connection().execute(text(forbidden))


def test_the_walls_end_with_the_transaction(engine: Engine) -> None:
    ada, bob = _users(engine)
    with Session(engine) as session:
        _confined_to(engine, session, ada)
        session.commit()

        assert _owners(session.connection(), "workflows") > {ada.id, bob.id}


def test_the_platform_can_step_out_of_them(engine: Engine) -> None:
    ada, bob = _users(engine)
    with Session(engine) as session:
        _confined_to(engine, session, ada)

        release(session)

        assert _owners(session.connection(), "workflows") > {ada.id, bob.id}


def test_whom_the_legal_basis_names_sees_the_run(engine: Engine) -> None:
    ada, bob = _users(engine)
    with Session(engine) as session:
        run = session.exec(select(Run).where(Run.owner_id == bob.id)).first()
        assert run is not None
        run.context = {"legal_basis": {"authorized_users": [ada.email]}}
        session.add(run)
        session.flush()

        _confined_to(engine, session, ada)

        assert session.exec(select(Run).where(Run.owner_id == bob.id)).one().id == run.id
        assert Runs(session, caller_of(ada)).get(run.id).id == run.id


def test_a_workflow_that_is_shared_is_seen_with_its_runs_and_nothing_else_of_its_owner(
    engine: Engine,
) -> None:
    ada, bob = _users(engine)
    with Session(engine) as session:
        shared = session.exec(select(Workflow).where(Workflow.owner_id == bob.id)).first()
        assert shared is not None
        session.add(
            WorkflowShare(
                workflow_id=shared.id,
                grantee_id=ada.id,
                role=TeamRole.VIEWER,
                created_by=bob.id,
                created_at=SystemClock().now(),
            )
        )
        session.flush()

        _confined_to(engine, session, ada)

        theirs = session.exec(select(Workflow.id).where(Workflow.owner_id == bob.id)).all()
        runs = session.exec(select(Run.workflow_id).where(Run.owner_id == bob.id)).all()
        listed, _ = Runs(session, caller_of(ada)).list(RunFilter(workflow_id=shared.id), 10, None)
        assert [*theirs] == [*set(runs)] == [shared.id]
        assert len(listed) == 10


@pytest.fixture
def app_login(engine: Engine) -> Iterator[Engine]:
    """A login that owns nothing, as compose makes one for API and workers."""
    name = "login_" + (engine.url.database or "").removeprefix("test_")
    with engine.begin() as connection:
        connection.execute(text(f'CREATE ROLE "{name}" LOGIN'))
        connection.execute(text(f'GRANT automateos_engine TO "{name}"'))
        connection.execute(
            text(f'GRANT automateos_tenant TO "{name}" WITH INHERIT FALSE, SET TRUE')
        )
    url = make_url(engine.url).set(username=name)
    login = make_engine(url.render_as_string(hide_password=False))
    yield login
    login.dispose()
    with engine.begin() as connection:
        connection.execute(text(f'DROP ROLE "{name}"'))


def test_a_login_that_owns_nothing_can_work_and_be_confined(app_login: Engine) -> None:
    ada, bob = _users(app_login)
    with Session(app_login) as session:
        assert _owners(session.connection(), "runs") > {ada.id, bob.id}
        session.add(_account())
        session.flush()

        _confined_to(app_login, session, ada)

        runs, _ = Runs(session, caller_of(ada)).list(RunFilter(), 10, None)
        assert len(runs) == 10
        assert _owners(session.connection(), "runs") == {ada.id}


@pytest.mark.parametrize(
    "forbidden",
    ["DROP TABLE runs", "ALTER TABLE runs NO FORCE ROW LEVEL SECURITY", "TRUNCATE runs"],
)
def test_a_login_that_owns_nothing_cannot_take_down_the_walls(
    app_login: Engine, forbidden: str
) -> None:
    with app_login.connect() as connection, pytest.raises(ProgrammingError):
        connection.execute(text(forbidden))


def _account() -> User:
    now = SystemClock().now()
    return User(
        id="01900000-0000-7000-8000-00000000ffff",
        email="new@example.com",
        password_hash="",
        role=Role.MEMBER,
        created_at=now,
    )


def _count(connection: Connection, table: str) -> int:
    return int(connection.execute(text(f"SELECT count(*) FROM {table}")).scalar_one())
