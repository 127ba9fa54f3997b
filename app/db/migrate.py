"""Bring a database to the schema that this code expects."""

from pathlib import Path
from typing import Final

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, Engine
from sqlalchemy.exc import OperationalError

from app.core.errors import ConfigurationError
from app.db.base import make_engine
from app.db.login import ensure_login
from app.db.walls import build_walls, tear_down_walls

MIGRATIONS = Path(__file__).resolve().parents[2] / "migrations"
OLDEST_POSTGRES: Final = 16
"""The first that grants a role without its rights, for `app.db.walls`."""


def upgrade(database_url: str, revision: str = "head") -> None:
    """Run every migration that is missing.

    Raises:
        ConfigurationError: when the database does not answer, or is too old.
    """
    engine = make_engine(database_url)
    try:
        with engine.begin() as connection:
            _require_version(connection)
            tear_down_walls(connection)
            command.upgrade(_config(connection), revision)
            if revision == "head":
                build_walls(connection)
    except OperationalError as error:
        raise ConfigurationError(unreachable(error)) from None
    finally:
        engine.dispose()


def prepare(database_url: str, owner_url: str | None) -> None:
    """Bring a database to the newest schema, as its owner where there is one, who then makes the login of `database_url`.

    Raises:
        ConfigurationError: when the database does not answer or is too old, or the owner may not do that.
    """
    upgrade(owner_url or database_url)
    if owner_url is not None:
        ensure_login(owner_url, database_url)


def downgrade(engine: Engine, revision: str) -> None:
    """Go back to an older schema."""
    with engine.begin() as connection:
        tear_down_walls(connection)
        command.downgrade(_config(connection), revision)


def unreachable(error: OperationalError) -> str:
    """Return one sentence about a database that does not answer."""
    reason = " ".join(str(error.orig).split())
    return (
        f"The database at DATABASE_URL does not answer ({reason}): start it or correct the address."
    )


def _require_version(connection: Connection) -> None:
    if connection.dialect.name != "postgresql":
        return
    version = int(connection.exec_driver_sql("SHOW server_version_num").scalar_one()) // 10_000
    if version < OLDEST_POSTGRES:
        raise ConfigurationError(
            f"The database at DATABASE_URL is Postgres {version}: AutomateOS needs {OLDEST_POSTGRES} or newer, such as the one "
            "that `python3 main.py` brings when DATABASE_URL is unset."
        )


def _config(connection: Connection) -> Config:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    config.attributes["connection"] = connection
    return config
