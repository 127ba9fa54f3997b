"""Is it alive, and can it serve? For load balancers; outside the versioned API."""

from collections.abc import Callable
from typing import Final, Literal, TypeVar

import anyio
from anyio import CapacityLimiter
from fastapi import APIRouter, Response
from redis.exceptions import RedisError
from sqlalchemy.exc import SQLAlchemyError

from app.api.container import Container
from app.api.deps import Services
from app.api.openapi import VERSION
from app.db.schema import schema_is_current
from app.schemas.health import Health, Readiness

DEADLINE_SECONDS: Final = 2.0
# Checks that hang must not take the threads that serve requests.
_THREADS: Final = CapacityLimiter(4)
State = TypeVar("State", bound=str)
router = APIRouter(tags=["Health"])


@router.head("/health", include_in_schema=False)
@router.get("/health", summary="Is it alive?")
async def health() -> Health:
    """Say that the process answers, and which version it is."""
    return Health(version=VERSION)


@router.head("/health/live", include_in_schema=False)
@router.get("/health/live", summary="Is it alive?")
async def live() -> Health:
    """Say that the process answers: if not, restart it."""
    return Health(version=VERSION)


@router.head("/health/ready", include_in_schema=False)
@router.get(
    "/health/ready",
    summary="Can it serve?",
    responses={503: {"model": Readiness, "description": "The database is away or outdated."}},
)
async def ready(container: Services, response: Response) -> Readiness:
    """Check database, schema and Redis, within 2 seconds.

    200 also without Redis (`degraded`): triggers are still stored, and their runs start a little later.
    """
    database = await _within_deadline(_database_state, container, "unreachable")
    redis_state = await _within_deadline(_redis_state, container, "unreachable")
    readiness = Readiness(
        status=_status(database, redis_state),
        database="unreachable" if database == "unreachable" else "ok",
        redis=redis_state,
        schema="unknown" if database == "unreachable" else database,
    )
    response.status_code = 503 if readiness.status == "unavailable" else 200
    return readiness


async def _within_deadline(
    check: Callable[[Container], State], container: Container, late: State
) -> State:
    with anyio.move_on_after(DEADLINE_SECONDS / 2):
        return await anyio.to_thread.run_sync(
            check, container, limiter=_THREADS, abandon_on_cancel=True
        )
    return late


def _database_state(container: Container) -> Literal["ok", "outdated", "unreachable"]:
    try:
        with container.engine.connect() as connection:
            return "ok" if schema_is_current(connection) else "outdated"
    except SQLAlchemyError:
        return "unreachable"


def _redis_state(container: Container) -> Literal["ok", "unreachable"]:
    try:
        container.redis.ping()
    except RedisError:
        return "unreachable"
    return "ok"


def _status(database: str, redis_state: str) -> Literal["ok", "degraded", "unavailable"]:
    if database != "ok":
        return "unavailable"
    return "ok" if redis_state == "ok" else "degraded"
