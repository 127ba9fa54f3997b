"""What requests are served with, made when the server starts and closed when it stops."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from importlib import import_module
from typing import Final

from redis import Redis
from sqlalchemy import Engine
from starlette.requests import HTTPConnection

from app.core.clock import Clock, SyncedClock, SystemClock
from app.core.config import Settings, require_secret_key
from app.core.errors import ConfigurationError
from app.core.security.encryption import KeyRing, key_ring
from app.core.security.passwords import MAX_AT_ONCE
from app.db.base import make_engine
from app.db.tenancy import Tenancy
from app.engine.artifacts.address import open_artifacts
from app.engine.artifacts.store import ArtifactStore
from app.engine.audit.appending import audit_key, keep_audit
from app.engine.delivery.dispatch import BackgroundDispatch, Dispatcher, connect_redis
from app.engine.egress.policy import build_policy
from app.engine.metrics.api import ApiMetrics
from app.engine.registry import Catalogue, load_catalogue
from app.services.authentication import Callers
from app.services.events import EventDesk
from app.services.oidc.identity import IdentityProvider
from app.services.rate_limits import RateLimits
from app.services.run_watch import RunWatch
from app.services.shared_rates import rate_limits
from app.services.stream_limit import OpenStreams
from app.services.throttle import Throttle
from app.services.triggers import TriggerDesk
from app.services.webhook_secrets import WebhookSecrets

DATABASE_TURNS: Final = 12
"""Fewer than there are connections (`make_engine`): desks and streams take some besides."""


@dataclass(frozen=True, slots=True)
class Container:
    """Everything that a request may need."""

    settings: Settings
    key: str
    keys: KeyRing
    tenancy: Tenancy
    engine: Engine
    clock: Clock
    catalogue: Catalogue
    throttle: Throttle
    triggers: TriggerDesk
    redis: Redis
    artifacts: ArtifactStore
    dispatch: BackgroundDispatch
    run_watch: RunWatch
    events: EventDesk
    metrics: ApiMetrics
    callers: Callers
    identity_provider: IdentityProvider | None
    rates: RateLimits
    webhook_secrets: WebhookSecrets
    streams: OpenStreams = field(default_factory=OpenStreams)
    turns: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(DATABASE_TURNS))
    """One for each request that uses the database."""
    hashing: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(MAX_AT_ONCE))
    """One for each request that hashes a password."""


Assemble = Callable[[Settings], AbstractAsyncContextManager[Container]]


@asynccontextmanager
async def assemble(settings: Settings) -> AsyncIterator[Container]:
    """Connect to what the settings name; disconnect at the end.

    Raises:
        ConfigurationError: a setting is missing or does not hold.
    """
    database_url, redis_url = _servers(settings)
    build_policy(settings.egress_allow)  # the workers' setting, but whoever starts us wants to know
    key, keys, clock = require_secret_key(settings), key_ring(settings), SystemClock()
    artifacts = open_artifacts(settings)
    engine, redis = _database(database_url, key), connect_redis(redis_url)
    catalogue = await asyncio.to_thread(load_catalogue, settings.plugins_dir)
    metrics = ApiMetrics(settings, engine, redis)
    meters = metrics.meters
    dispatch = BackgroundDispatch(Dispatcher(redis, engine), meters.batches_of("dispatch"))
    rates, secrets = rate_limits(settings, clock), WebhookSecrets(keys)
    ttl = settings.idempotency_key_ttl_seconds
    desk = TriggerDesk(
        engine, catalogue, key, SyncedClock(), dispatch, meters, ttl, secrets=secrets, rates=rates
    )
    events = EventDesk(engine, SyncedClock(), dispatch, settings.event_ttl_seconds, meters)
    throttle, watch = Throttle(redis_url, clock), RunWatch(engine)
    metrics.begin()
    try:
        async with _proving(settings, engine) as (callers, provider):
            yield Container(
                settings,
                key,
                keys,
                Tenancy(engine),
                engine,
                clock,
                catalogue,
                throttle,
                desk,
                redis,
                artifacts,
                dispatch,
                watch,
                events,
                metrics,
                callers,
                provider,
                rates,
                secrets,
            )
    finally:
        await watch.close()
        await desk.close()
        await events.close()
        await dispatch.close()
        await metrics.end()
        await asyncio.to_thread(rates.close)
        redis.close()
        artifacts.close()
        engine.dispose()


def _servers(settings: Settings) -> tuple[str, str]:
    if settings.database_url is None or settings.redis_url is None:
        missing = "DATABASE_URL" if settings.database_url is None else "REDIS_URL"
        raise ConfigurationError(
            f"{missing} is not set: set it, or start with `python3 main.py`, which brings its own servers."
        )
    return settings.database_url, settings.redis_url


def _database(url: str, key: str) -> Engine:
    engine = make_engine(url)
    keep_audit(engine, audit_key(key))
    return engine


@asynccontextmanager
async def _proving(
    settings: Settings, engine: Engine
) -> AsyncIterator[tuple[Callers, IdentityProvider | None]]:
    """Yield what finds callers, and the provider to sign in at, if there is one.

    What talks to it takes some megabytes, so it is imported only then.
    """
    callers, provider = Callers(engine), None
    if settings.oidc_issuer is not None:
        provider = import_module("app.services.oidc.provider").connect(settings)
    try:
        yield callers, provider
    finally:
        await asyncio.to_thread(callers.close)
        if provider is not None:
            await provider.close()


def container_of(connection: HTTPConnection) -> Container:
    """Return the container of the application that serves this request."""
    container: Container = connection.app.state.container
    return container
