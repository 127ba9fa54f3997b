"""`doctor`: look at everything that a start needs, and say how to mend what is wrong."""

import os
import platform
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import typer
from redis.exceptions import RedisError

from app.cli.columns import in_columns
from app.cli.connections import open_database, with_servers
from app.core.config import Settings, load_settings
from app.core.errors import ConfigurationError
from app.core.logging import configure_logging
from app.embedded.network import answers_ok, require_free_port
from app.engine.delivery.dispatch import connect_redis
from app.engine.egress.policy import build_policy
from app.engine.registry import load_catalogue

app = typer.Typer(add_completion=False)


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at; `detail` says what was found, or how to mend it."""

    what: str
    well: bool
    detail: str


@app.command()
def doctor() -> None:
    """Check Python, settings, folders, servers, port and node files; exit code 1 when something is wrong."""
    configure_logging("error")
    findings = list(_examine())
    for line in in_columns(
        *(("ok" if found.well else "problem", found.what, found.detail) for found in findings)
    ):
        typer.echo(line)
    if not all(found.well for found in findings):
        raise typer.Exit(1)


def _examine() -> Iterator[Finding]:
    yield Finding("python", well=True, detail=platform.python_version())
    try:
        settings = load_settings()
        build_policy(settings.egress_allow)
    except ConfigurationError as error:
        yield Finding("settings", well=False, detail=error.detail)
        return
    yield Finding("settings", well=True, detail="every value can be used")
    folder = _data_folder(settings)
    yield folder
    if folder.well:
        yield from _servers(settings)
    yield _port(settings)
    yield from _nodes(settings.plugins_dir)


def _data_folder(settings: Settings) -> Finding:
    folder = settings.data_dir
    parents = (folder.absolute(), *folder.absolute().parents)
    existing = next(path for path in parents if path.exists())
    if existing.is_dir() and os.access(existing, os.W_OK | os.X_OK):
        detail = str(folder) if folder.exists() else f"{folder} is made at the first start"
        return Finding("data folder", well=True, detail=detail)
    if settings.database_url and settings.redis_url and settings.secret_key:
        detail = f"{existing} cannot be written; only `up` needs it, for the rest lies elsewhere"
        return Finding("data folder", well=True, detail=detail)
    detail = f"{existing} cannot be written: set DATA_DIR to a folder of yours"
    return Finding("data folder", well=False, detail=detail)


def _servers(settings: Settings) -> Iterator[Finding]:
    if settings.database_url is None and not (settings.data_dir / "postgres").exists():
        yield Finding("database", well=True, detail="embedded, made at the first start")
        return
    try:
        with with_servers(settings, "database_url", "redis_url") as resolved:
            yield _database(resolved)
            yield _redis(resolved.redis_url or "")
    except ConfigurationError as error:
        yield Finding("servers", well=False, detail=error.detail)


def _database(settings: Settings) -> Finding:
    try:
        with open_database(settings) as engine:
            detail = f"{engine.dialect.name} answers, at the newest schema"
    except ConfigurationError as error:
        return Finding("database", well=False, detail=error.detail)
    return Finding("database", well=True, detail=detail)


def _redis(url: str) -> Finding:
    redis = connect_redis(url)
    try:
        redis.ping()
    except RedisError as error:
        detail = f"Redis does not answer at REDIS_URL ({error}): start it or correct the address"
        return Finding("redis", well=False, detail=detail)
    finally:
        redis.close()
    return Finding("redis", well=True, detail="answers")


def _port(settings: Settings) -> Finding:
    try:
        require_free_port(settings.host, settings.port)
    except ConfigurationError as error:
        if answers_ok(settings.host, settings.port, "/health/live"):
            return Finding("port", well=True, detail=f"AutomateOS answers on {settings.port}")
        return Finding("port", well=False, detail=error.detail)
    return Finding("port", well=True, detail=f"{settings.port} is free")


def _nodes(plugins_dir: Path | None) -> Iterator[Finding]:
    catalogue = load_catalogue(plugins_dir)
    detail = f"{len(catalogue.names())} types loaded"
    yield Finding("node types", well=True, detail=detail)
    for failure in catalogue.failures:
        detail = f"{failure.source} was left out: {failure.error}"
        yield Finding("node file", well=False, detail=detail)
