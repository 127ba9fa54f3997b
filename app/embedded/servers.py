"""Which servers a platform uses: those of the settings, or embedded ones in DATA_DIR."""

from collections.abc import Iterator
from contextlib import contextmanager

from pydantic import SecretStr

from app.core.config import Settings
from app.core.errors import ConfigurationError
from app.embedded.data_folder import AlreadyRunning, hold
from app.embedded.network import require_reachable
from app.embedded.postgres import EmbeddedPostgres
from app.embedded.redis import EmbeddedRedis
from app.embedded.server import EmbeddedServer

POSTGRES_SCHEMES = ("postgresql://", "postgresql+psycopg2://")
SQLITE_SCHEME = "sqlite:///"
CONNECTIONS_OF_API, CONNECTIONS_OF_WORKER, CONNECTIONS_TO_SPARE = 20, 16, 20
REDIS_SCHEMES = ("redis://", "rediss://", "unix://")


def embedded_servers(settings: Settings) -> dict[str, EmbeddedServer]:
    """Return a server, not started, for each URL that is not set, by the setting's name; the others must answer.

    Raises:
        ConfigurationError: when a URL that is set leads nowhere.
    """
    servers: dict[str, EmbeddedServer] = {}
    if settings.database_url is None:
        servers["database_url"] = EmbeddedPostgres(
            settings.data_dir / "postgres", options={"max_connections": _connections(settings)}
        )
    else:
        _require_database(settings.database_url)
    if settings.redis_url is None:
        servers["redis_url"] = EmbeddedRedis(settings.data_dir / "redis")
    else:
        _require_scheme("REDIS_URL", settings.redis_url, REDIS_SCHEMES)
        require_reachable("REDIS_URL", settings.redis_url)
    return servers


def with_urls(settings: Settings, servers: dict[str, EmbeddedServer]) -> Settings:
    """Return the settings with the URLs of servers that were launched."""
    return settings.model_copy(update={name: server.url for name, server in servers.items()})


@contextmanager
def servers_for(settings: Settings) -> Iterator[Settings]:
    """Give a command settings in which every URL and the key are filled in.

    While `up` runs on the same DATA_DIR, its servers are used; else embedded ones run as long as the command does.

    Raises:
        ConfigurationError: when they cannot be started or reached.
    """
    settings = settings.model_copy(update={"data_dir": settings.data_dir.absolute()})
    try:
        with hold(settings.data_dir) as folder:
            key = SecretStr(folder.secret_key(settings))
            servers = embedded_servers(settings)
            try:
                for server in servers.values():
                    server.start()
                yield with_urls(settings, servers).model_copy(update={"secret_key": key})
            finally:
                for server in servers.values():
                    server.stop()
    except AlreadyRunning as running:
        yield _beside(settings, running.note)


def _beside(settings: Settings, note: dict[str, str]) -> Settings:
    """Return the settings with the URLs that the running platform noted."""
    urls = {
        name: note.get(name)
        for name in ("database_url", "redis_url")
        if getattr(settings, name) is None
    }
    if not all(urls.values()):
        raise ConfigurationError("AutomateOS is just starting here: try again in a moment.")
    return settings.model_copy(update=urls)


def _connections(settings: Settings) -> str:
    """Return how many connections our processes may open, and some for people; at least what is usual."""
    own = CONNECTIONS_OF_API * settings.api_workers + CONNECTIONS_OF_WORKER * settings.workers
    return str(max(own + CONNECTIONS_TO_SPARE, 100))


def _require_database(url: str) -> None:
    if url.startswith(SQLITE_SCHEME):
        return
    _require_scheme("DATABASE_URL", url, (*POSTGRES_SCHEMES, SQLITE_SCHEME))
    require_reachable("DATABASE_URL", url)


def _require_scheme(setting: str, url: str, schemes: tuple[str, ...]) -> None:
    if not url.startswith(schemes):
        raise ConfigurationError(f"{setting} must start with {' or '.join(schemes)}.")
