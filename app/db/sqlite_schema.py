"""Change what SQLite cannot: a constraint of a table that others refer to.

Alembic would copy such a table and drop the old one, which foreign keys forbid. The text of the table is changed instead, as
SQLite's documentation of ALTER TABLE describes for constraints (https://www.sqlite.org/lang_altertable.html#otheralter).
"""

from sqlalchemy import Connection, text


def replace_in_table(connection: Connection, table: str, old: str, new: str) -> None:
    """Replace a part of a table's CREATE statement; stored rows must fit both.

    Raises:
        LookupError: the statement does not hold that part, exactly once.
    """
    find = text("SELECT sql FROM sqlite_schema WHERE type = 'table' AND name = :table")
    created = str(connection.execute(find, {"table": table}).scalar_one())
    if created.count(old) != 1:
        raise LookupError(f"{table} is not created with {old!r}: {created}")
    version = connection.execute(text("PRAGMA schema_version")).scalar_one()
    connection.execute(text("PRAGMA writable_schema = ON"))
    change = text("UPDATE sqlite_schema SET sql = :sql WHERE type = 'table' AND name = :table")
    connection.execute(change, {"sql": created.replace(old, new), "table": table})
    connection.execute(text(f"PRAGMA schema_version = {int(version) + 1}"))
    connection.execute(text("PRAGMA writable_schema = OFF"))
