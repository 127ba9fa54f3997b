"""A long history, made in SQL: copies of one real run, with ids, keys and times of their own."""

from sqlalchemy import Engine, text

from app.models import Run, RunLog, StepAttempt

ROWS_AT_ONCE = 50_000
# UUIDv7 from a number: 48 bits of time, a second apart and in the past, then the number.
ID = """
CAST(lpad(to_hex(CAST(extract(epoch FROM now()) * 1000 AS bigint) - 1000 * CAST(:count + 10 - n AS bigint)), 12, '0')
     || '70008000' || lpad(to_hex(n), 12, '0') AS uuid)
"""
OWN: dict[str, dict[str, str]] = {
    "runs": {
        "id": ID,
        "idempotency_key": "'filled-' || n",
        "created_at": "t.created_at - (:count + 10 - n) * interval '1 second'",
        "started_at": "t.started_at - (:count + 10 - n) * interval '1 second'",
        "finished_at": "t.finished_at - (:count + 10 - n) * interval '1 second'",
    },
    "steps": {"run_id": ID},
    "run_logs": {"run_id": ID},
}
TEMPLATE = "SELECT id FROM runs WHERE status = 'succeeded' ORDER BY id DESC LIMIT 1"


def fill(engine: Engine, count: int) -> None:
    """Add so many finished runs, with their steps and logs, to Postgres, and tell the planner of them."""
    with engine.connect() as connection:
        template = connection.execute(text(TEMPLATE)).scalar_one()
    for first in range(1, count + 1, ROWS_AT_ONCE):
        last = min(first + ROWS_AT_ONCE - 1, count)
        with engine.begin() as connection:
            for statement in copies():
                values = {"template": template, "first": first, "last": last, "count": count}
                connection.execute(text(statement), values)
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        for table in OWN:
            connection.execute(text(f"VACUUM ANALYZE {table}"))  # as autovacuum would have done
        connection.execute(text("CHECKPOINT"))


def copies() -> list[str]:
    """Return the statements that copy the template's rows, with every column that the tables have."""
    columns = {
        "runs": Run.model_fields,
        "steps": StepAttempt.model_fields,
        "run_logs": RunLog.model_fields,
    }
    return [_copy(table, list(names)) for table, names in columns.items()]


def _copy(table: str, columns: list[str]) -> str:
    own = OWN[table]
    key = "id" if "id" in own else "run_id"
    values = ", ".join(own.get(name, f"t.{name}") for name in columns)
    return (
        f"INSERT INTO {table} ({', '.join(columns)}) SELECT {values} "
        f"FROM {table} t CROSS JOIN generate_series(CAST(:first AS int), CAST(:last AS int)) n "
        f"WHERE t.{key} = CAST(:template AS uuid)"
    )
