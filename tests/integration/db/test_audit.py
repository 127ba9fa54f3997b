"""The audit log in a real database: chained, append-only, and whatever is done to it shows."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import DBAPIError
from sqlmodel import Session, select

from app.core.clock import SystemClock
from app.core.ids import new_id
from app.core.statuses import ActorKind, Role
from app.db.base import make_engine
from app.db.migrate import downgrade, upgrade
from app.db.session import transaction
from app.engine.audit.anchors import AnchorFile
from app.engine.audit.appending import append, audit_key, keep_audit
from app.engine.audit.chain import Reason
from app.engine.audit.entry import SYSTEM, Actor, Entry
from app.engine.audit.verifying import verify
from app.engine.duties.audit_anchors import AuditAnchors, record_plugins
from app.models import AuditEntry, User
from app.services.audit import Change, record

KEY = audit_key("a secret key that is long enough for a test")
CANARY = "canary-9f3a1c"


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    engine = make_engine(database_url, pool_size=20)
    keep_audit(engine, KEY)
    yield engine
    engine.dispose()


@pytest.fixture
def anchors(tmp_path: Path) -> AnchorFile:
    return AnchorFile(tmp_path / "anchors.jsonl")


def _write(engine: Engine, count: int) -> None:
    for number in range(count):
        with engine.begin() as connection:
            append(connection, [Entry(SYSTEM, "thing.done", "thing", str(number))])


def _rows(engine: Engine) -> list[AuditEntry]:
    with Session(engine) as session:
        return list(session.exec(select(AuditEntry).order_by("seq")).all())


def _tamper(engine: Engine, *statements: str) -> None:
    """Do what only somebody who can disable the triggers can."""
    with engine.begin() as connection:
        _disable_triggers(connection)
        for statement in statements:
            connection.execute(text(statement))


def _disable_triggers(connection: Connection) -> None:
    if connection.dialect.name == "postgresql":
        connection.execute(text("ALTER TABLE audit_log DISABLE TRIGGER ALL"))
        return
    for name in ("no_update", "no_delete", "no_replace"):
        connection.execute(text(f"DROP TRIGGER audit_log_{name}"))


def test_entries_count_from_one_without_a_gap_and_hold(engine: Engine, anchors: AnchorFile) -> None:
    actor = Actor(ActorKind.API_KEY, new_id(), "ada@example.com", new_id(), "192.0.2.7")
    details = {"n": 1.5, "text": "é 😀", "list": [None, True, 2**53], "deep": {"b": 1, "a": 2}}
    with engine.begin() as connection:
        append(connection, [Entry(actor, "a.b", "c", "d", new_id(), details, new_id()), Entry(SYSTEM, "a.b", "c", "e")])  # fmt: skip
    _write(engine, 3)

    verdict = verify(engine, anchors)

    assert [row.seq for row in _rows(engine)] == [1, 2, 3, 4, 5]
    assert _rows(engine)[0].details == details
    assert (verdict.entries, verdict.fault, verdict.anchored_seq) == (5, None, None)


@pytest.mark.parametrize(
    "statement", ["UPDATE audit_log SET action = 'x'", "DELETE FROM audit_log"]
)
def test_the_database_itself_refuses_to_change_an_entry(engine: Engine, statement: str) -> None:
    _write(engine, 2)

    with pytest.raises(DBAPIError, match="append-only"), engine.begin() as connection:
        connection.execute(text(statement))

    assert len(_rows(engine)) == 2


def test_it_cannot_be_emptied_or_written_over(engine: Engine) -> None:
    _write(engine, 2)
    statement = (
        "TRUNCATE audit_log"
        if engine.dialect.name == "postgresql"
        else "INSERT OR REPLACE INTO audit_log SELECT * FROM audit_log WHERE seq = 1"
    )

    with pytest.raises(DBAPIError, match="append-only"), engine.begin() as connection:
        connection.execute(text(statement))


@pytest.mark.parametrize(
    ("statements", "seq", "reason"),
    [
        (["UPDATE audit_log SET target_id = 'other' WHERE seq = 4"], 4, Reason.CHANGED),
        (["UPDATE audit_log SET at = '2020-01-01 00:00:00' WHERE seq = 4"], 4, Reason.CHANGED),
        (["DELETE FROM audit_log WHERE seq = 4"], 4, Reason.MISSING),
        (
            [
                "DELETE FROM audit_log WHERE seq = 4",
                "UPDATE audit_log SET seq = -seq WHERE seq > 4",
                "UPDATE audit_log SET seq = -seq - 1 WHERE seq < 0",
            ],
            4,
            Reason.OUT_OF_ORDER,
        ),
        (
            [
                "UPDATE audit_log SET seq = -1 WHERE seq = 4",
                "UPDATE audit_log SET seq = 4 WHERE seq = 5",
                "UPDATE audit_log SET seq = 5 WHERE seq = -1",
            ],
            4,
            Reason.OUT_OF_ORDER,
        ),
        (
            [
                "INSERT INTO audit_log (seq, at, actor_kind, action, target_kind, target_id, details, previous_hash, hash) "
                "SELECT seq + 1, at, actor_kind, 'user.role_changed', target_kind, 'eve', details, hash, previous_hash "
                "FROM audit_log WHERE seq = 8"
            ],
            9,
            Reason.CHANGED,
        ),
        (["DELETE FROM audit_log WHERE seq > 6"], 7, Reason.CUT_TAIL),
        (["DELETE FROM audit_log"], 1, Reason.CUT_TAIL),
    ],
)
def test_whatever_is_done_to_it_the_first_bad_entry_is_named(
    engine: Engine, anchors: AnchorFile, statements: list[str], seq: int, reason: Reason
) -> None:
    _write(engine, 8)
    AuditAnchors(engine, anchors, {}).run_once()
    before = verify(engine, anchors)

    _tamper(engine, *statements)
    fault = verify(engine, anchors).fault

    assert (before.entries, before.fault, before.anchored_seq) == (8, None, 8)
    assert fault is not None
    assert (fault.seq, fault.reason) == (seq, reason)


def test_a_tail_that_was_cut_off_and_written_anew_shows(
    engine: Engine, anchors: AnchorFile
) -> None:
    _write(engine, 8)
    AuditAnchors(engine, anchors, {}).run_once()

    _tamper(engine, "DELETE FROM audit_log WHERE seq > 6")
    _write(engine, 5)
    fault = verify(engine, anchors).fault

    assert fault is not None
    assert (fault.seq, fault.reason) == (8, Reason.CHANGED)


def test_an_anchor_is_added_when_there_is_something_new(
    engine: Engine, anchors: AnchorFile
) -> None:
    duty = AuditAnchors(engine, anchors, {})
    done = [duty.run_once()]

    _write(engine, 2)
    done += [duty.run_once(), duty.run_once(), AuditAnchors(engine, anchors, {}).run_once()]
    _write(engine, 1)
    done.append(duty.run_once())

    assert done == [{"anchors": n} for n in (0, 1, 0, 0, 1)]
    assert [anchor.seq for anchor in anchors.read()] == [2, 3]


def test_a_cut_tail_is_not_anchored_over(engine: Engine, anchors: AnchorFile) -> None:
    _write(engine, 4)
    duty = AuditAnchors(engine, anchors, {})
    duty.run_once()

    _tamper(engine, "DELETE FROM audit_log WHERE seq > 2")
    _write(engine, 5)

    assert duty.run_once() == {}
    assert [anchor.seq for anchor in anchors.read()] == [4]


def test_twenty_threads_make_one_chain(postgres_url: str, anchors: AnchorFile) -> None:
    engine = make_engine(postgres_url, pool_size=20)
    keep_audit(engine, KEY)
    users = [_user(engine, n) for n in range(4)]

    def change(number: int) -> None:
        # Each locks rows that others lock as well, in one order, and is then chained.
        with transaction(engine) as session:
            for user_id in sorted({users[number % 4], users[(number + 1) % 4]}):
                session.get_one(User, user_id, with_for_update=True).token_version += 1
            for n in range(number % 3 + 1):
                record(session, None, Change("user.changed", "user", f"{number}.{n}"))

    with ThreadPoolExecutor(20) as pool:
        list(pool.map(change, range(200)))
    verdict = verify(engine, anchors)
    rows = _rows(engine)
    engine.dispose()

    expected = sum(number % 3 + 1 for number in range(200))
    assert (verdict.entries, verdict.fault) == (expected, None)
    assert [row.seq for row in rows] == [*range(1, expected + 1)]
    assert [row.at for row in rows] == sorted(row.at for row in rows)


def _user(engine: Engine, number: int) -> str:
    user = User(
        id=new_id(),
        email=f"u{number}@example.com",
        password_hash="",
        role=Role.MEMBER,
        created_at=SystemClock().now(),
    )
    with transaction(engine) as session:
        session.add(user)
    return user.id


def test_what_is_rolled_back_leaves_no_entry(engine: Engine) -> None:
    def change_and_stumble() -> None:
        with transaction(engine) as session:
            record(session, None, Change("a.b", "c", "d"))
            raise LookupError

    with pytest.raises(LookupError):
        change_and_stumble()

    assert _rows(engine) == []


def test_where_an_entry_would_be_lost_it_is_refused(engine: Engine, database_url: str) -> None:
    without_key = make_engine(database_url)
    change = Change("a.b", "c", "d")

    with Session(engine) as bare, pytest.raises(RuntimeError, match="transaction"):
        record(bare, None, change)
    with transaction(without_key) as session, pytest.raises(RuntimeError, match="keep_audit"):
        record(session, None, change)
    with transaction(engine) as session, session.begin_nested(), pytest.raises(RuntimeError):
        record(session, None, change)
    with without_key.begin() as connection, pytest.raises(RuntimeError, match="keep_audit"):
        append(connection, [Entry(SYSTEM, "a.b", "c", "d")])
    without_key.dispose()
    assert _rows(engine) == []


def test_secrets_in_details_are_masked(engine: Engine, anchors: AnchorFile) -> None:
    details = {
        "password": CANARY,
        "url": f"https://ada:{CANARY}@example.com/?token={CANARY}&a=1",
        "headers": [{"name": "Authorization", "value": CANARY}],
        "nested": {"client_secret": {"x": CANARY}},
    }
    with transaction(engine) as session:
        record(session, None, Change("a.b", "c", "d", details=details))

    (row,) = _rows(engine)

    assert CANARY not in str(row)
    assert row.details["url"] == "https://***@example.com/?token=***&a=1"
    assert verify(engine, anchors).fault is None


def test_details_that_are_too_large_are_left_out(engine: Engine) -> None:
    with transaction(engine) as session:
        record(session, None, Change("a.b", "c", "x" * 9_000, details={"x": "y" * 70_000}))

    (row,) = _rows(engine)

    assert (row.details, len(row.target_id)) == ({"left_out_bytes": 70_008}, 500)


def test_plugins_are_put_on_record_when_they_differ(engine: Engine) -> None:
    for plugins in ({}, {"/p/a_token.py": "1"}, {"/p/a_token.py": "1"}, {"/p/a_token.py": "2"}, {}):
        record_plugins(engine, plugins)

    assert [row.details["files"] for row in _rows(engine)] == [
        [{"file": "/p/a_token.py", "sha256": "1"}],
        [{"file": "/p/a_token.py", "sha256": "2"}],
        [],
    ]


def test_the_schema_goes_down_and_up_with_entries_in_it(
    engine: Engine, database_url: str, anchors: AnchorFile
) -> None:
    _write(engine, 2)

    downgrade(engine, "0007")
    upgrade(database_url)
    _write(engine, 1)

    assert [row.seq for row in _rows(engine)] == [1]
    assert verify(engine, anchors).fault is None
