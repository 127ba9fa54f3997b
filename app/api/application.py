"""The application: routes, limits and error handling. What has a connection is made when the server starts."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI
from starlette.middleware import Middleware
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from app.api import docs, health, metrics
from app.api.container import Assemble, assemble
from app.api.errors import install_error_handlers
from app.api.middleware import LastResort, RequestGuard, SecurityHeaders
from app.api.openapi import DESCRIPTION, TAGS, TITLE, VERSION, install_openapi
from app.api.rates import RateGuard
from app.api.startup import StartupSentence
from app.api.v1 import api
from app.api.v1.endpoints.triggers import trigger_webhook
from app.api.webhook_door import WebhookDoor, is_webhook_call
from app.core.config import Settings


class Application(FastAPI):
    """The application, with a door of its own for webhook calls."""

    webhook_door: ASGIApp

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request."""
        if is_webhook_call(scope):
            scope["app"] = self
            await self.webhook_door(scope, receive, send)
        else:
            await super().__call__(scope, receive, send)


def create_app(settings: Settings, assemble: Assemble = assemble) -> FastAPI:
    """Return the application; `assemble` makes what it is served with, once the server starts."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with assemble(settings) as container:
            app.state.container = container
            yield

    app = Application(
        title=TITLE,
        version=VERSION,
        description=DESCRIPTION,
        openapi_tags=TAGS,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        lifespan=lifespan,
    )
    # Before the rest, whose 60 routes are put together when a request is first held against them: that takes a while.
    app.include_router(health.router)
    for router in api.ROUTERS:
        app.include_router(router, prefix=api.PREFIX)
    app.include_router(metrics.router)
    app.include_router(docs.router)
    app.add_middleware(StartupSentence)
    app.webhook_door = WebhookDoor(trigger_webhook)
    for middleware in _guards(settings):
        app.add_middleware(middleware.cls, *middleware.args, **middleware.kwargs)
        app.webhook_door = middleware.cls(app.webhook_door, *middleware.args, **middleware.kwargs)
    install_error_handlers(app)
    install_openapi(app)
    return app


def _guards(settings: Settings) -> list[Middleware]:
    """Return what stands before every request, the innermost first: limits of size and of rate, then the last resort, then headers."""
    guards = [
        Middleware(
            RequestGuard,
            max_body_bytes=settings.max_body_bytes,
            body_seconds=settings.request_timeout_seconds,
        ),
        Middleware(RateGuard),
        Middleware(LastResort),
        Middleware(SecurityHeaders),
    ]
    if settings.trusted_proxies:
        trusted = list(settings.trusted_proxies)
        guards.append(Middleware(ProxyHeadersMiddleware, trusted_hosts=trusted))
    return guards
