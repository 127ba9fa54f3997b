"""`/metrics`: what Prometheus reads; outside the versioned API."""

from typing import Final

import anyio
from anyio import CapacityLimiter
from fastapi import APIRouter, Request, Response
from prometheus_client import CONTENT_TYPE_LATEST
from sqlalchemy.exc import SQLAlchemyError

from app.api.deps import Services
from app.api.openapi import problems
from app.engine.metrics.backlog import Backlog, BacklogReader
from app.engine.metrics.gate import Reader, refusal

DEADLINE_SECONDS: Final = 2.0
# A database that hangs must not take the threads that serve requests.
_THREADS: Final = CapacityLimiter(4)
router = APIRouter(tags=["Operators"])


@router.get(
    "/metrics",
    summary="Numbers for Prometheus",
    response_class=Response,
    responses={
        200: {"content": {"text/plain": {"schema": {"type": "string"}}}},
        **problems(401, 403),
    },
)
async def metrics(request: Request, container: Services) -> Response:
    """Show what every process of this machine has counted, labelled by `process`, and what stands in the database.

    Whoever sends the operator's `METRICS_TOKEN` may read it; where none is set, this machine and private networks may.
    """
    client = request.client
    reader = Reader(
        client.host if client else None,
        request.headers.get("authorization", ""),
        request.headers.get("x-forwarded-for"),
    )
    refused = refusal(reader, container.settings.metrics_token_text)
    if refused is not None:
        raise refused
    backlog = await _backlog(container.metrics.backlog)
    text = await anyio.to_thread.run_sync(container.metrics.text, backlog, limiter=_THREADS)
    return Response(text, media_type=CONTENT_TYPE_LATEST)


async def _backlog(reader: BacklogReader) -> Backlog | None:
    with anyio.move_on_after(DEADLINE_SECONDS):
        try:
            return await anyio.to_thread.run_sync(
                reader.read, limiter=_THREADS, abandon_on_cancel=True
            )
        except SQLAlchemyError:
            return None
    return None
