"""Nobody sees what another owns, and no route forgets to ask who is calling."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.dependencies.models import Dependant
from fastapi.routing import RouteContext, iter_route_contexts

from app.api.application import create_app
from app.api.deps import Needs, NeedsAtDesk
from app.core.config import Settings
from app.core.permissions import SCOPES_OF, Scope
from app.core.statuses import Role
from tests.integration.api.conftest import DEFINITION, Caller, Sign

PUBLIC = {
    "/",
    "/docs",
    "/docs/{asset}",
    "/health",
    "/health/live",
    "/health/ready",
    "/metrics",
    "/openapi.json",
    "/api/v1/login",
    "/api/v1/logout",
    "/api/v1/oidc/callback",
    "/api/v1/oidc/login",
    "/api/v1/register",
    "/api/v1/token/refresh",
    "/api/v1/webhooks/{workflow_id}",
    "/api/v1/approvals/links/{token}",
}
PLATFORM = "/api/v1/admin/"
"""What is nobody's own: who may, may with all of it."""
BODIES: dict[tuple[str, str], Any] = {
    ("PUT", "/workflows/{workflow_id}"): {"name": "Mine", "definition": DEFINITION},
    ("PATCH", "/workflows/{workflow_id}"): {"name": "Mine"},
    ("POST", "/approvals/{approval_id}/links"): {"approver": "cfo@example.com"},
    ("POST", "/workflows/{workflow_id}/schedules"): {"cron": "@daily"},
    ("PATCH", "/workflows/{workflow_id}/schedules/{schedule_id}"): {"enabled": False},
    ("PUT", "/workflows/{workflow_id}/policy"): {},
    ("PUT", "/teams/{team_id}/policy"): {},
}


def _application() -> FastAPI:
    return create_app(Settings(_env_file=None, data_dir=Path("/nowhere")))


def _routes() -> Iterator[RouteContext]:
    yield from iter_route_contexts(_application().routes)


def _declares_a_scope(dependant: Dependant) -> bool:
    return any(
        isinstance(inner.call, Needs | NeedsAtDesk) or _declares_a_scope(inner)
        for inner in dependant.dependencies
    )


def _scopes(dependant: Dependant) -> Iterator[Scope]:
    for inner in dependant.dependencies:
        if isinstance(inner.call, Needs | NeedsAtDesk):
            yield inner.call.scope
        yield from _scopes(inner)


def _object_routes() -> list[tuple[str, str]]:
    """Return (method, path) of every route that names an object, apart from the public ones."""
    return sorted(
        (method, (route.path or "").removeprefix("/api/v1"))
        for route in _routes()
        for method in (route.methods or ())
        if route.path not in PUBLIC
        and "_id}" in (route.path or "")
        and not (route.path or "").startswith(PLATFORM)
    )


def _nowhere(path: str) -> str:
    return path.format(
        key_id="7",
        session_id="7",
        workflow_id="health",
        run_id="7",
        approval_id="7",
        number=1,
        path="step_1",
        sha256="7",
        schedule_id="7",
        team_id="7",
    )


def test_every_route_declares_a_scope_except_the_public_ones() -> None:
    open_routes = {
        route.path
        for route in _routes()
        if not (hasattr(route, "dependant") and _declares_a_scope(route.dependant))
    }

    assert open_routes == PUBLIC


def test_there_are_routes_to_check() -> None:
    assert len(_object_routes()) >= 11


@pytest.mark.parametrize(("method", "path"), _object_routes())
async def test_another_owners_object_is_not_found(
    ada: Caller, sign_up: Sign, method: str, path: str
) -> None:
    bob = await sign_up("bob@example.com")
    workflow = await ada.save()
    run_id = (await ada.post(f"/workflows/{workflow['id']}/runs")).json()["run_id"]
    schedule = await ada.post(f"/workflows/{workflow['id']}/schedules", {"cron": "@daily"})
    key = await ada.post("/api-keys", {"name": "Ada's", "scopes": ["runs:read"]})
    session = (await ada.get("/me/sessions")).json()["items"][0]
    before = (await ada.get(f"/workflows/{workflow['id']}")).json()
    address = path.format(
        key_id=key.json()["id"],
        session_id=session["id"],
        workflow_id=workflow["id"],
        run_id=run_id,
        approval_id=run_id,
        number=1,
        path="step_1",
        sha256="7",
        schedule_id=schedule.json()["id"],
        team_id=workflow["id"],
    )

    answer = await bob.call(method, address, json=BODIES.get((method, path)))

    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")
    assert (await ada.get(f"/workflows/{workflow['id']}")).json() == before


async def test_what_is_no_id_is_not_found(ada: Caller) -> None:
    statuses = {
        (method, path): (
            await ada.call(method, _nowhere(path), json=BODIES.get((method, path)))
        ).status_code
        for method, path in _object_routes()
    }

    assert statuses == dict.fromkeys(statuses, 404)


async def test_whoever_is_not_logged_in_is_told_so_before_anything_else(ada: Caller) -> None:
    statuses = {
        (method, path): (await ada.http.request(method, f"/api/v1{_nowhere(path)}")).status_code
        for method, path in _object_routes()
    }

    assert statuses == dict.fromkeys(statuses, 401)


def test_every_route_of_the_platform_asks_for_a_scope_that_members_lack() -> None:
    scopes = {
        route.path: scope
        for route in _routes()
        if (route.path or "").startswith(PLATFORM) and hasattr(route, "dependant")
        for scope in _scopes(route.dependant)
    }

    assert len(scopes) >= 4
    assert not scopes.keys() & {
        path for path, scope in scopes.items() if scope in SCOPES_OF[Role.MEMBER]
    }


async def test_lists_hold_only_what_is_mine(ada: Caller, sign_up: Sign) -> None:
    bob = await sign_up("bob@example.com")
    workflow = await ada.save()
    await ada.post(f"/workflows/{workflow['id']}/runs")

    lists = [
        (await bob.get(path)).json()["items"]
        for path in ("/workflows", "/runs", f"/runs?workflow_id={workflow['id']}")
    ]

    assert lists == [[], [], []]


@pytest.mark.parametrize("path", ["//health", "/health/", "/api/v1/workflows/", "/API/v1/me"])
async def test_addresses_that_look_public_are_not(ada: Caller, path: str) -> None:
    assert (await ada.http.get(f"http://test{path}")).status_code == 404
