"""How commands reach the platform's servers: the running one's, or their own for as long as the command takes."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

from sqlalchemy import Engine
from sqlalchemy.exc import OperationalError

from app.core.config import Settings
from app.core.errors import ConfigurationError
from app.db.base import make_engine
from app.db.migrate import unreachable
from app.db.schema import schema_is_current
from app.embedded.servers import servers_for

Url = Literal["database_url", "redis_url"]


@contextmanager
def with_servers(settings: Settings, *needed: Url) -> Iterator[Settings]:
    """Yield settings in which the `needed` URLs are filled in; nothing is started when they are set already.

    Raises:
        ConfigurationError: when a server cannot be started or reached.
    """
    if all(getattr(settings, name) is not None for name in needed):
        yield settings
        return
    with servers_for(settings) as resolved:
        yield resolved


@contextmanager
def open_database(settings: Settings) -> Iterator[Engine]:
    """Yield the database of settings whose URL is filled in, at the newest schema.

    Raises:
        ConfigurationError: when it does not answer, or has an older schema.
    """
    engine = make_engine(settings.database_url or "")
    try:
        with engine.connect() as connection:
            current = schema_is_current(connection)
        if not current:
            raise ConfigurationError(
                "The database is not at the newest schema: run `python3 main.py migrate`."
            )
        yield engine
    except OperationalError as error:
        raise ConfigurationError(unreachable(error)) from None
    finally:
        engine.dispose()
