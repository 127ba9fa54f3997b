"""No statement of ours reads a large table through, whether the database has counted its rows before or not.

Statistics come late: a table is filled within seconds after it was counted as empty, or before it was counted at all.
"""

import importlib
import pkgutil
from collections.abc import Iterator, Mapping
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, event, text
from sqlmodel import Session, select

import app
from app.core.clock import SystemClock
from app.core.errors import NotFound
from app.core.ids import first_id_at, new_id
from app.core.statuses import ApprovalStatus, RunStatus, TriggerKind
from app.db.base import make_engine
from app.db.statement import Statement
from app.db.tenancy import Tenancy
from app.db.types import Id, Json, Status, UtcDateTime
from app.engine.store import SQLITE_NOW
from app.models import User
from app.services.approvals import Approvals
from app.services.audit_log import AuditFilter, AuditLog
from app.services.callers import Caller, caller_of
from app.services.events import Events
from app.services.evidence import RunEvidence
from app.services.pages import make_cursor
from app.services.runs import LogFilter, RunFilter, Runs
from app.services.streams import OwnerFeed, RunFeed
from tests.integration.db.history import LARGE, write_history

NOW = SystemClock().now()
ROWS_OF_A_BATCH = 50
OF_LIVE_WORK = frozenset(
    {
        "approvals_due",
        "events_fresh",
        "hook_calls_due",
        "runs_due",
        "runs_hooked",
        "runs_parked",
        "waits_due",
        "waits_for_runs",
        "waits_fresh",
    }
)
"""Partial indexes that hold what is going on just now. They may be read through: history does not make them longer."""
VALUES: Mapping[str, Any] = {"first": first_id_at(NOW - timedelta(minutes=1)), "batch": 100}
"""Parameters whose values matter to a plan; of all others, any value of their type will do."""
ID = new_id()
SAMPLES = {"uuid": ID, "text": "x", "json": {}, "timestamptz": NOW, "boolean": False}


@pytest.fixture
def history(postgres_url: str) -> Iterator[Engine]:
    engine = make_engine(postgres_url)
    with engine.begin() as connection:
        write_history(connection)
    yield engine
    engine.dispose()


@pytest.mark.parametrize("counted", [False, True], ids=["never counted", "counted"])
def test_no_statement_and_no_list_reads_a_large_table_through(
    history: Engine, counted: bool
) -> None:
    with history.begin() as connection:
        if counted:
            connection.execute(text("ANALYZE"))
        plans = {name: _explain(connection, it) for name, it in _statements().items()}
    plans |= _plans_of_lists(history)

    found = {name: list(_read_through(plan)) for name, plan in plans.items()}

    assert {name: tables for name, tables in found.items() if tables} == {}
    assert {"NEXT_TIMES", "CLAIM", "UPSERT_STEPS", "FIND_WAITS", "LOAD_TARGETS"} <= found.keys()


def test_a_table_that_is_read_through_is_found(postgres_url: str) -> None:
    engine = make_engine(postgres_url)
    with engine.begin() as connection:
        plans = [
            _explain(connection, Statement(f"SELECT count(*) FROM runs WHERE {condition}"))
            for condition in ("version = 1", "id = gen_random_uuid()")
        ]
    engine.dispose()

    assert [list(_read_through(plan)) for plan in plans] == [["runs"], ["runs"]]


def _statements() -> dict[str, Statement]:
    """Return every statement of the product by its name."""
    found: dict[Statement, str] = {}
    names: list[str] = []
    for module in pkgutil.walk_packages(app.__path__, "app."):
        for name, value in vars(importlib.import_module(module.name)).items():
            if isinstance(value, Statement) and value is not SQLITE_NOW and value not in found:
                names.append(name)
                found[value] = name if names.count(name) == 1 else f"{name} ({module.name})"
    return {name: statement for statement, name in found.items()}


def _explain(connection: Connection, statement: Statement) -> Any:
    """Return the plan for a statement, with any values of its parameters' types."""
    explained = Statement(
        f"EXPLAIN (FORMAT JSON) {statement._sql}",
        rows=statement._rows,
        takes=statement._takes,
        returns={"QUERY PLAN": Json},
    )
    row = {name: SAMPLES.get(kind, 1) for name, kind in statement._rows.items()}
    values = {name: VALUES.get(name, _any(kind)) for name, kind in statement._takes.items()}
    ((answer,),) = explained.run(connection, [row] * ROWS_OF_A_BATCH, **values)
    return answer[0]["Plan"]


def _any(kind: Any) -> Any:
    match kind:
        case Id():
            return ID
        case Status():
            return next(iter(kind.enum))
        case UtcDateTime():
            return NOW
        case _ if kind is Json:
            return {}
        case _:
            return 1 if kind.python_type in (int, float) else "x"


def _plans_of_lists(engine: Engine) -> dict[str, Any]:
    """Return the plan of every query that the API's lists, and opening a run, send."""
    sent: dict[str, Any] = {}

    def note(_conn: Any, _cursor: Any, sql: str, parameters: Any, *_: Any) -> None:
        sent.setdefault(" ".join(sql.split()), parameters)

    event.listen(engine, "before_cursor_execute", note)
    with Session(engine) as session:
        _read_everything(session)
    event.remove(engine, "before_cursor_execute", note)
    queries = {sql: values for sql, values in sent.items() if sql.startswith("SELECT")}
    with Session(engine) as session:
        plans = _explained(session, queries)
        Tenancy(engine).confine(session, [ID], "ada@example.com")
        confined = _explained(session, {sql: queries[sql] for sql in queries if _confines(sql)})
    return plans | {f"confined: {sql}": plan for sql, plan in confined.items()}


def _confines(sql: str) -> bool:
    """Tell whether a query is one of those that the API sends within a tenant's walls."""
    return "FROM users" not in sql and "approv" not in sql


def _explained(session: Session, queries: Mapping[str, Any]) -> dict[str, Any]:
    return {
        sql: session.connection()
        .exec_driver_sql(f"EXPLAIN (FORMAT JSON) {sql}", values)
        .scalar_one()[0]["Plan"]
        for sql, values in queries.items()
    }


def _read_everything(session: Session) -> None:
    """List all that can be listed, as Ada, and open one of her runs."""
    ada = caller_of(session.exec(select(User).where(User.email == "user500@example.com")).one())
    runs = Runs(session, ada)
    (run, *_), cursor = runs.list(RunFilter(), 10, None)
    assert cursor is not None
    wanted = RunFilter(
        run.workflow_id, RunStatus.FAILED, TriggerKind.WEBHOOK, NOW - timedelta(days=1)
    )
    for narrowed in (RunFilter(), RunFilter(status=RunStatus.QUEUED), RunFilter(since=NOW), wanted):
        runs.list(narrowed, 50, cursor)
    runs.list_of(run.workflow_id, None, 1, None)
    runs.get(run.id)
    runs.attempts(run.id, "step_1")
    runs.logs(run.id, LogFilter(step="step_1", level="info", text="x"), 50, None)
    with pytest.raises(NotFound):
        runs.artifact(run.id, "0" * 64)
    RunFeed(ada, run.id).read(session)
    OwnerFeed(ada, SystemClock()).read(session)
    RunEvidence(session, ada).list(run.id, 50, None)
    _read_audit_log(session, ada)
    events, approvals = Events(session, ada), Approvals(session, ada, lambda _: None)
    for event_type, correlation_id in ((None, None), ("type1", None), ("type1", "order 1")):
        events.list(event_type, correlation_id, 50, make_cursor(ID))
    for status in (None, ApprovalStatus.PENDING):
        approvals.list(status, 50, make_cursor(ID))


def _read_audit_log(session: Session, ada: Caller) -> None:
    AuditLog(session, ada).mine(50, None)
    for wanted in (
        AuditFilter(),
        AuditFilter(actor=ada.id, target_kind="thing"),
        AuditFilter(actor=ada.email),
        AuditFilter(action="login.failed"),
        AuditFilter(target_id="7"),
        AuditFilter(owner_id=ada.id),
        AuditFilter(run_id=ID),
        AuditFilter(since=NOW - timedelta(hours=1), until=NOW),
    ):
        AuditLog(session, ada, wanted).all(50, None)


def _read_through(plan: Mapping[str, Any]) -> Iterator[str]:
    """Yield the large tables, and indexes of them, of which a plan reads all rows."""
    table, index = plan.get("Relation Name"), plan.get("Index Name")
    if plan["Node Type"] == "Seq Scan" and table in LARGE:
        yield table
    if (
        index
        and "Index Cond" not in plan
        and index not in OF_LIVE_WORK
        and index.startswith(tuple(LARGE))
    ):
        yield index
    for part in plan.get("Plans", ()):
        yield from _read_through(part)
