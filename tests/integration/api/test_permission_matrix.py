"""Who may call which route on which object: every route of the application by every way to have a role, or none."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import httpx
import pytest
from fastapi.routing import iter_route_contexts
from sqlalchemy import Engine

from app.api.application import create_app
from app.api.container import Container
from app.core.config import Settings
from app.core.permissions import TeamRole
from tests.integration.api.conftest import DEFINITION, Caller, Sign
from tests.integration.api.tenants import make_credential, make_team, make_workflow, user_ids

VIEWER, RUNNER, EDITOR, OWNER = TeamRole
Route = tuple[str, str]

WORKFLOW = "/workflows/{workflow_id}"
SCHEDULE = WORKFLOW + "/schedules/{schedule_id}"
RUN = "/runs/{run_id}"
APPROVAL = "/approvals/{approval_id}"
TEAM = "/teams/{team_id}"
MEMBER = TEAM + "/members/{email}"
CREDENTIAL = "/credentials/{credential_id}"
NEEDS: Final[dict[Route, TeamRole]] = {
    ("GET", WORKFLOW): VIEWER,
    ("PUT", WORKFLOW): EDITOR,
    ("PATCH", WORKFLOW): EDITOR,
    ("DELETE", WORKFLOW): OWNER,
    ("POST", WORKFLOW + "/webhook/rotate"): EDITOR,
    ("GET", WORKFLOW + "/versions"): VIEWER,
    ("GET", WORKFLOW + "/versions/{number}"): VIEWER,
    ("GET", WORKFLOW + "/runs"): VIEWER,
    ("POST", WORKFLOW + "/runs"): RUNNER,
    ("POST", "/webhooks/{workflow_id}"): RUNNER,
    ("GET", WORKFLOW + "/shares"): VIEWER,
    ("PUT", WORKFLOW + "/shares"): OWNER,
    ("DELETE", WORKFLOW + "/shares"): OWNER,
    ("POST", WORKFLOW + "/transfer"): OWNER,
    ("GET", WORKFLOW + "/schedules"): VIEWER,
    ("POST", WORKFLOW + "/schedules"): EDITOR,
    ("GET", SCHEDULE): VIEWER,
    ("PATCH", SCHEDULE): EDITOR,
    ("DELETE", SCHEDULE): EDITOR,
    ("GET", RUN): VIEWER,
    ("GET", RUN + "/artifacts/{sha256}"): VIEWER,
    ("GET", RUN + "/steps/{path}/attempts"): VIEWER,
    ("GET", RUN + "/logs"): VIEWER,
    ("GET", RUN + "/evidence"): VIEWER,
    ("GET", RUN + "/evidence/bundle"): VIEWER,
    ("GET", RUN + "/stream"): VIEWER,
    ("POST", RUN + "/pause"): RUNNER,
    ("POST", RUN + "/resume"): RUNNER,
    ("POST", RUN + "/cancel"): RUNNER,
    ("POST", RUN + "/replay"): RUNNER,
    ("POST", RUN + "/steps/{path}/retry"): RUNNER,
    ("GET", APPROVAL): VIEWER,
    ("POST", APPROVAL + "/links"): EDITOR,
    ("GET", TEAM): VIEWER,
    ("PATCH", TEAM): OWNER,
    ("DELETE", TEAM): OWNER,
    ("GET", TEAM + "/members"): VIEWER,
    ("PUT", MEMBER): OWNER,
    ("DELETE", MEMBER): OWNER,
    ("GET", WORKFLOW + "/policy"): VIEWER,
    ("PUT", WORKFLOW + "/policy"): EDITOR,
    ("GET", TEAM + "/policy"): VIEWER,
    ("PUT", TEAM + "/policy"): OWNER,
    ("GET", CREDENTIAL): VIEWER,
    ("PUT", CREDENTIAL): EDITOR,
    ("DELETE", CREDENTIAL): EDITOR,
}
"""What a caller needs on the object that a route names."""
APPROVERS_ONLY: Final[set[Route]] = {
    ("POST", APPROVAL + "/approve"),
    ("POST", APPROVAL + "/reject"),
}
"""A role on the run lets one see the approval, and no role lets one decide it."""
NAMES_NO_OBJECT: Final[set[Route]] = {
    ("GET", "/"),
    ("GET", "/docs"),
    ("GET", "/docs/{asset}"),
    ("GET", "/health"),
    ("GET", "/health/live"),
    ("GET", "/health/ready"),
    ("GET", "/metrics"),
    ("GET", "/openapi.json"),
    ("POST", "/login"),
    ("POST", "/register"),
    ("GET", "/me"),
    ("POST", "/me/password"),
    ("POST", "/me/sessions/revoke"),
    ("GET", "/approvals"),
    ("GET", "/approvals/links/{token}"),
    ("POST", "/approvals/links/{token}"),
    ("GET", "/events"),
    ("POST", "/events"),
    ("GET", "/nodes"),
    ("GET", "/nodes/{node_type}"),
    ("GET", "/runs"),
    ("GET", "/runs/stream"),
    ("POST", "/runs/cancel"),
    ("POST", "/runs/retry"),
    ("GET", "/teams"),
    ("POST", "/teams"),
    ("GET", "/workflows"),
    ("POST", "/workflows"),
    ("POST", "/workflows/validate"),
    ("GET", "/admin/status"),
    ("GET", "/admin/audit"),
    ("GET", "/admin/audit/export"),
    ("GET", "/admin/audit/verify"),
    ("GET", "/audit"),
    ("GET", "/admin/policies"),
    ("PUT", "/admin/policies"),
    ("GET", "/admin/users"),
    ("PATCH", "/admin/users/{user_id}"),
    ("GET", "/admin/invitations"),
    ("POST", "/admin/invitations"),
    ("DELETE", "/admin/invitations/{invitation_id}"),
    ("GET", "/admin/kill-switches"),
    ("POST", "/admin/kill-switches"),
    ("GET", "/admin/kill-switches/{switch_id}"),
    ("DELETE", "/admin/kill-switches/{switch_id}"),
    ("POST", "/admin/kill_switch"),
    ("GET", "/api-keys"),
    ("POST", "/api-keys"),
    ("DELETE", "/api-keys/{key_id}"),
    ("GET", "/me/sessions"),
    ("DELETE", "/me/sessions/{session_id}"),
    ("GET", "/credentials"),
    ("POST", "/credentials"),
    ("GET", "/oidc/login"),
    ("GET", "/oidc/callback"),
    ("POST", "/logout"),
    ("POST", "/token/refresh"),
}
"""Routes for which scopes are all there is, or one's own account; lists are held to their owners by `test_tenants.py`."""
BODIES: Final[dict[Route, Any]] = {
    ("PUT", WORKFLOW): {"name": "Mine", "definition": DEFINITION},
    ("PATCH", WORKFLOW): {"name": "Mine"},
    ("PUT", WORKFLOW + "/shares"): {"user": "cfo@example.com", "role": "viewer"},
    ("POST", WORKFLOW + "/transfer"): {"owner": "cfo@example.com"},
    ("POST", WORKFLOW + "/schedules"): {"cron": "@daily"},
    ("PATCH", SCHEDULE): {"enabled": False},
    ("POST", APPROVAL + "/links"): {"approver": "cfo@example.com"},
    ("PATCH", TEAM): {"name": "Another name"},
    ("PUT", MEMBER): {"role": "viewer"},
    ("PUT", WORKFLOW + "/policy"): {},
    ("PUT", TEAM + "/policy"): {},
    ("PUT", CREDENTIAL): {"name": "mine", "kind": "generic"},
}
QUERIES: Final[dict[Route, Any]] = {("DELETE", WORKFLOW + "/shares"): {"user": "cfo@example.com"}}


@dataclass(frozen=True)
class Actor:
    """Somebody, by how they come to a role: of their own, by a share, or in a team."""

    name: str
    personal: TeamRole | None = None
    shared: TeamRole | None = None
    team: TeamRole | None = None

    def role_for(self, route: Route) -> TeamRole | None:
        """Return the role on the object of a route: only workflows are shared."""
        if route[1].startswith(TEAM):
            return self.team
        shared = None if route[1].startswith(CREDENTIAL) else self.shared
        return self.team or self.personal or shared


ADMIN = Actor("admin")  # the first to register: a platform admin, and nobody's colleague
ACTORS: Final = (
    ADMIN,
    Actor("owner", personal=OWNER),
    *(Actor(f"shared_{role}", shared=role) for role in (VIEWER, RUNNER, EDITOR)),
    *(Actor(f"team_{role}", team=role) for role in TeamRole),
    Actor("stranger"),
    Actor("cfo"),
)


def _routes() -> Iterator[Route]:
    app = create_app(Settings(_env_file=None, data_dir=Path("/nowhere")))
    for route in iter_route_contexts(app.routes):
        for method in set(route.methods or ()) - {"HEAD"}:
            yield method, (route.path or "").removeprefix("/api/v1") or "/"


def _expected(route: Route, actor: Actor) -> str:
    has = actor.role_for(route)
    if route in APPROVERS_ONLY:
        has_sight = "refused" if has else "hidden"
        return "allowed" if actor.name == "cfo" else has_sight
    if actor.name == "cfo" and route == ("GET", APPROVAL):
        return "allowed"
    if actor.name == "cfo" and route == ("POST", APPROVAL + "/links"):
        return "refused"
    if has is None:
        return "hidden"
    return "allowed" if has.includes(NEEDS[route]) else "refused"


def _class_of(answer: httpx.Response) -> str:
    """Return what an answer comes to: what may be seen but is not there is allowed, as is what its state forbids."""
    if answer.status_code == 403:
        assert answer.json()["code"] == "permission_denied"
        return "refused"
    if answer.status_code == 404 and "not yours" in answer.json()["detail"]:
        return "hidden"
    if answer.status_code == 404 and "you are not in it" in answer.json()["detail"]:
        return "hidden"
    return "allowed" if answer.status_code != 401 and answer.status_code < 500 else answer.text


def _scene(engine: Engine, ids: dict[str, str], actor: Actor) -> dict[str, Any]:
    """Return the names in addresses, for objects made for this one call."""
    members = {ids[one.name]: one.team for one in ACTORS if one.team}
    team_id = make_team(engine, members)
    shared = {ids[one.name]: one.shared for one in ACTORS if one.shared}
    owner_id = team_id if actor.team else ids["owner"]
    owned = make_workflow(engine, owner_id, {} if actor.team else shared)
    rest = {"number": 1, "path": "step_1", "sha256": "7", "email": "cfo@example.com"}
    credential_id = make_credential(engine, owner_id)
    return asdict(owned) | rest | {"team_id": team_id, "credential_id": credential_id}


async def _call(caller: Caller, route: Route, names: dict[str, Any]) -> httpx.Response:
    method, path = route
    options = {"json": BODIES.get(route), "params": QUERIES.get(route)}
    return await caller.call(method, path.format(**names), **options)


@pytest.fixture
async def people(sign_up: Sign) -> dict[str, Caller]:
    return {actor.name: await sign_up(f"{actor.name}@example.com") for actor in ACTORS}


def test_every_route_has_its_entry() -> None:
    named = NEEDS.keys() | APPROVERS_ONLY | NAMES_NO_OBJECT

    assert set(_routes()) == named


async def test_everybody_may_do_what_their_role_allows_and_nothing_else(
    people: dict[str, Caller], container: Container
) -> None:
    ids = {email.partition("@")[0]: id_ for email, id_ in user_ids(container.engine).items()}
    wrong = {}

    for route in [*NEEDS, *APPROVERS_ONLY]:
        for actor in ACTORS:
            names = _scene(container.engine, ids, actor)
            found = _class_of(await _call(people[actor.name], route, names))
            if found != _expected(route, actor):
                wrong[*route, actor.name] = found

    assert wrong == {}
