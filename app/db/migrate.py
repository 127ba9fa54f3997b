"""Bring a database to the schema that this code expects."""

from pathlib import Path

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, Engine
from sqlalchemy.exc import OperationalError

from app.core.errors import ConfigurationError
from app.db.base import make_engine

MIGRATIONS = Path(__file__).resolve().parents[2] / "migrations"


def upgrade(database_url: str, revision: str = "head") -> None:
    """Run every migration that is missing.

    Raises:
        ConfigurationError: when the database does not answer.
    """
    engine = make_engine(database_url)
    try:
        with engine.begin() as connection:
            command.upgrade(_config(connection), revision)
    except OperationalError as error:
        raise ConfigurationError(unreachable(error)) from None
    finally:
        engine.dispose()


def downgrade(engine: Engine, revision: str) -> None:
    """Go back to an older schema."""
    with engine.begin() as connection:
        command.downgrade(_config(connection), revision)


def unreachable(error: OperationalError) -> str:
    """Return one sentence about a database that does not answer."""
    reason = " ".join(str(error.orig).split())
    return (
        f"The database at DATABASE_URL does not answer ({reason}): start it or correct the address."
    )


def _config(connection: Connection) -> Config:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    config.attributes["connection"] = connection
    return config
