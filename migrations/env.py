"""Alembic's entry: runs on the connection that `app.db.migrate` hands over, or on DATABASE_URL."""

from typing import Literal

from alembic import context
from alembic.autogenerate.api import AutogenContext
from sqlalchemy import Connection
from sqlmodel.sql.sqltypes import AutoString

from app.core.config import load_settings
from app.core.errors import ConfigurationError
from app.db.base import make_engine
from app.db.types import Id, Status, UtcDateTime
from app.models import metadata


def render(kind: str, item: object, _: AutogenContext) -> str | Literal[False]:
    """Write our column types by their short names; a migration needs no enum to stay as it is today."""
    if kind == "type" and isinstance(item, Status | AutoString):
        return f"sa.String({item.length or ''})"
    if kind == "type" and isinstance(item, Id | UtcDateTime):
        return f"{type(item).__name__}()"
    return False


def run(connection: Connection) -> None:
    """Run the migrations that are missing, in the caller's transaction."""
    context.configure(
        connection=connection,
        target_metadata=metadata,
        compare_type=True,
        render_as_batch=True,
        render_item=render,
    )
    with context.begin_transaction():
        context.run_migrations()


def run_on_settings() -> None:
    """Run them for `alembic` on the command line."""
    settings = load_settings()
    if settings.database_url is None:
        raise ConfigurationError("Set DATABASE_URL to the database to migrate.")
    with make_engine(settings.database_url).begin() as connection:
        run(connection)


handed_over = context.config.attributes.get("connection")
if handed_over is None:
    run_on_settings()
else:
    run(handed_over)
