"""Everything on one machine, in the order of dependence: servers, schema, workers and API."""

import os
import time
from collections.abc import Mapping
from functools import partial

from pydantic import SecretStr

from app.core.config import Settings
from app.core.errors import ConfigurationError
from app.embedded import schema
from app.embedded.api_processes import api_processes, forget_api_processes
from app.embedded.data_folder import DataFolder, hold
from app.embedded.network import answers_ok, local_host, require_free_port
from app.embedded.programs import API_SHUTDOWN_SECONDS, MARGIN_SECONDS, Program, Programs
from app.embedded.servers import SQLITE_SCHEME, embedded_servers, with_urls
from app.embedded.signals import SignalInbox
from app.embedded.supervisor import Say, StopRequested, Supervisor

READY_PATH = "/health/ready"
MEMORY = {
    "MALLOC_ARENA_MAX": "2",
    "MALLOC_MMAP_THRESHOLD_": "8388608",
    "MALLOC_TRIM_THRESHOLD_": "33554432",
}
"""glibc keeps memory apart for each of our dozen threads, of which only one runs at a time, and keeps the 19 MB that each
password takes for a moment. As in the images."""
SQLITE_NOTICE = (
    "SQLite serves one machine: one writer at a time and no row-level security. "
    "Unset DATABASE_URL for the embedded Postgres."
)


def run_platform(settings: Settings, programs: Programs, say: Say) -> None:
    """Run everything until a signal asks to stop, and leave no process behind.

    Raises:
        ConfigurationError: when it cannot start, with one sentence.
    """
    settings = settings.model_copy(update={"data_dir": settings.data_dir.absolute()})
    with SignalInbox() as inbox, hold(settings.data_dir) as folder:
        require_free_port(settings.host, settings.port)
        supervisor = Supervisor(inbox, say)
        try:
            _start(supervisor, settings, folder, programs)
            supervisor.watch()
            say("Stopping; once more hastens.")
        except StopRequested:
            say("Stopping before everything had started.")
        finally:
            supervisor.stop()


def _start(
    supervisor: Supervisor, settings: Settings, folder: DataFolder, programs: Programs
) -> None:
    started = time.monotonic()
    key = SecretStr(folder.secret_key(settings))
    servers = embedded_servers(settings)
    supervisor.start(*servers.values())
    resolved = with_urls(settings, servers).model_copy(update={"secret_key": key})
    folder.note(**{name: server.url for name, server in servers.items()})
    if resolved.database_url and resolved.database_url.startswith(SQLITE_SCHEME):
        supervisor.say(SQLITE_NOTICE)
    environment = environment_of(resolved)
    if "database_url" not in servers or not schema.is_current(servers["database_url"].url):
        _migrate(supervisor, resolved, programs, environment)
    _start_programs(supervisor, resolved, programs, environment)
    seconds = time.monotonic() - started
    supervisor.say(f"Ready in {seconds:.1f} s: {_address(resolved)}/docs (Ctrl-C stops it)")


def environment_of(settings: Settings) -> dict[str, str]:
    """Return what the processes find in their environment: ours, with every address and the key filled in."""
    resolved = {
        "DATA_DIR": str(settings.data_dir),
        "HOST": settings.host,
        "PORT": str(settings.port),
        "DATABASE_URL": settings.database_url or "",
        "REDIS_URL": settings.redis_url or "",
        "SECRET_KEY": settings.secret_key.get_secret_value() if settings.secret_key else "",
    }
    return MEMORY | dict(os.environ) | resolved  # noqa: TID251 - the environment of a child


def _migrate(
    supervisor: Supervisor, settings: Settings, programs: Programs, environment: Mapping[str, str]
) -> None:
    started = time.monotonic()
    log = settings.data_dir / "migration.log"
    if not supervisor.run_once(Program("schema", programs.migration, environment, log=log)):
        lines = log.read_text(errors="replace").splitlines()
        reason = next((line for line in reversed(lines) if line.strip()), "it wrote nothing")
        raise ConfigurationError(f"{reason.strip().rstrip('.')}; more is in {log}.")
    supervisor.say(f"{'schema':<12} {'migrated':<8} {time.monotonic() - started:5.1f} s")


def _start_programs(
    supervisor: Supervisor, settings: Settings, programs: Programs, environment: dict[str, str]
) -> None:
    """Start workers and API together, and wait for the API."""
    patience = settings.shutdown_seconds + MARGIN_SECONDS
    workers = [
        Program(
            f"worker {number + 1}",
            programs.worker,
            environment | _metrics_port(settings, number),
            patience=patience,
        )
        for number in range(settings.workers)
    ]
    api = Program(
        "api",
        programs.api,
        environment,
        patience=API_SHUTDOWN_SECONDS + MARGIN_SECONDS,
        ready=partial(_api_answers, settings),
    )
    forget_api_processes(settings.data_dir)
    supervisor.start(*workers)
    supervisor.start(api)


def _api_answers(settings: Settings) -> bool:
    """Tell whether every API process is there. They share a port: one question reaches any one of them."""
    if settings.api_workers > 1 and api_processes(settings.data_dir) < settings.api_workers:
        return False
    return answers_ok(settings.host, settings.port, READY_PATH)


def _metrics_port(settings: Settings, number: int) -> dict[str, str]:
    """Return what gives each worker a port of its own, where it is to have one."""
    return {"METRICS_PORT": str(settings.metrics_port + number)} if settings.metrics_port else {}


def _address(settings: Settings) -> str:
    host = local_host(settings.host)
    return f"http://[{host}]:{settings.port}" if ":" in host else f"http://{host}:{settings.port}"
