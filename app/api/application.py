"""The application: routes, limits and error handling. What has a connection is made when the server starts."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from app.api import docs, health, metrics
from app.api.container import Assemble, assemble
from app.api.errors import install_error_handlers
from app.api.middleware import LastResort, RequestGuard, SecurityHeaders
from app.api.openapi import DESCRIPTION, TAGS, TITLE, VERSION, install_openapi
from app.api.startup import StartupSentence
from app.api.v1 import api
from app.api.v1.endpoints.triggers import WEBHOOK_PATH, trigger_webhook
from app.core.config import Settings


def create_app(settings: Settings, assemble: Assemble = assemble) -> FastAPI:
    """Return the application; `assemble` makes what it is served with, once the server starts."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with assemble(settings) as container:
            app.state.container = container
            yield

    app = FastAPI(
        title=TITLE,
        version=VERSION,
        description=DESCRIPTION,
        openapi_tags=TAGS,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        lifespan=lifespan,
    )
    app.add_route(WEBHOOK_PATH, trigger_webhook, ["POST"], include_in_schema=False)
    # Before the rest, whose 60 routes are put together when a request is first held against them: that takes a while.
    app.include_router(health.router)
    for router in api.ROUTERS:
        app.include_router(router, prefix=api.PREFIX)
    app.include_router(metrics.router)
    app.include_router(docs.router)
    # Added last, met first: headers, then the last resort, then the limits.
    app.add_middleware(
        RequestGuard,
        max_body_bytes=settings.max_body_bytes,
        body_seconds=settings.request_timeout_seconds,
    )
    app.add_middleware(LastResort)
    app.add_middleware(SecurityHeaders)
    app.add_middleware(StartupSentence)
    if settings.trusted_proxies:
        app.add_middleware(ProxyHeadersMiddleware, trusted_hosts=list(settings.trusted_proxies))
    install_error_handlers(app)
    install_openapi(app)
    return app
