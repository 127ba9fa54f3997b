"""What there is before the API is called: Ada's things, one apart for each operation that uses its own up."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

import httpx

from tests.e2e.crash.harness.waiting import wait_until

PASSWORD: Final = "correct horse battery"
ADA, CFO = "ada@contract.example", "cfo@contract.example"
MALLORY: Final = "mallory@contract.example"
LARGE: Final = "x" * 300_000
"""An output of that size becomes an artifact."""
LOG: Final = {"id": "note", "type": "log", "config": {"message": "seen"}}
WAIT: Final = {"id": "wait", "type": "wait_for_event", "config": {"event_type": "never.comes"}}
FAIL: Final = {"id": "break", "type": "fail", "config": {"message": "on purpose"}}
COPY: Final = {"id": "copy", "type": "transform", "config": {"value": "${{ input }}"}}
POLICY: Final = {"hosts": {"allowed": ["api.example.com"]}}

WORKFLOW: Final = "/api/v1/workflows/{workflow_id}"
SCHEDULE: Final = WORKFLOW + "/schedules/{schedule_id}"
RUN: Final = "/api/v1/runs/{run_id}"
APPROVAL: Final = "/api/v1/approvals/{approval_id}"
LINK: Final = "/api/v1/approvals/links/{token}"
TEAM: Final = "/api/v1/teams/{team_id}"
MEMBER: Final = TEAM + "/members/{email}"
CREDENTIAL: Final = "/api/v1/credentials/{credential_id}"
SWITCH: Final = "/api/v1/admin/kill-switches/{switch_id}"


@dataclass
class World:
    """What addresses are filled in with, and bodies that fit what there is."""

    values: dict[str, Any] = field(default_factory=dict)
    """By the name of a parameter."""
    own: dict[str, dict[str, Any]] = field(default_factory=dict)
    """By operation, where it is not to take what all others take."""
    bodies: dict[str, Any] = field(default_factory=dict)
    """By operation."""


def sign_in(http: httpx.Client, email: str) -> dict[str, str]:
    """Return the tokens of a new session."""
    answer = http.post("/login", data={"username": email, "password": PASSWORD})
    tokens: dict[str, str] = answer.raise_for_status().json()
    return tokens


def register(http: httpx.Client, email: str) -> str:
    """Make an account; returns its id."""
    answer = http.post("/register", json={"email": email, "password": PASSWORD})
    return str(answer.raise_for_status().json()["id"])


def build(http: httpx.Client) -> World:
    """Return what Ada has made, over the API; `http` is signed in as her, who is the first user and so an administrator."""
    world, maker = World(), Maker(http)
    _workflows(world, maker)
    _runs(world, maker)
    _approvals(world, maker)
    _teams(world, maker)
    _people(world, maker)
    _guards(world, maker)
    return world


@dataclass
class Maker:
    """Makes things as Ada."""

    http: httpx.Client
    made: int = 0

    def post(self, path: str, body: Any = None) -> dict[str, Any]:
        """Return what an address answers that must succeed."""
        answer = self.http.post(path, json=body)
        assert answer.is_success, f"{path}: {answer.text}"
        found: dict[str, Any] = answer.json()
        return found

    def get(self, path: str) -> Any:
        """Return what there is at an address."""
        return self.http.get(path).raise_for_status().json()

    def workflow(self, *steps: Any, **more: Any) -> str:
        """Return the id of a new workflow."""
        self.made += 1
        form = {"name": f"flow {self.made}", "definition": {"steps": steps or [LOG]}, **more}
        return str(self.post("/workflows", form)["id"])

    def run(self, workflow_id: str, body: Any, *statuses: str) -> dict[str, Any]:
        """Return a run that has come to stand where it is to stand."""
        run_id = self.post(f"/workflows/{workflow_id}/runs", {"input": body})["run_id"]
        self.until(lambda: self.get(f"/runs/{run_id}")["status"] in statuses, f"{statuses}")
        found: dict[str, Any] = self.get(f"/runs/{run_id}")
        return found

    def until(self, condition: Callable[[], bool], what: str) -> None:
        """Wait for a condition."""
        assert wait_until(condition), f"it did not come to this: {what}"


def _workflows(world: World, maker: Maker) -> None:
    world.values |= {"workflow_id": maker.workflow(), "number": 1, "node_type": "log"}
    world.values["If-Match"] = "*"  # as it stands: else nearly every change would end with 412
    for apart in (
        f"PUT {WORKFLOW}",
        f"PATCH {WORKFLOW}",
        f"DELETE {WORKFLOW}",
        f"POST {WORKFLOW}/transfer",
        f"POST {WORKFLOW}/webhook/rotate",
        f"PUT {WORKFLOW}/policy",
        f"PUT {WORKFLOW}/shares",
    ):
        world.own[apart] = {"workflow_id": maker.workflow()}
    draft = {"name": "made", "definition": {"steps": [LOG]}}
    world.bodies |= {
        "POST /api/v1/workflows": draft,
        f"PUT {WORKFLOW}": draft,
        "POST /api/v1/workflows/validate": {"definition": draft["definition"]},
        f"POST {WORKFLOW}/runs": {"input": {"n": 1}},
        f"PUT {WORKFLOW}/policy": POLICY,
        f"POST {WORKFLOW}/schedules": {"cron": "@yearly"},
    }
    _schedules(world, maker)
    maker.post("/events", {"type": "noted", "payload": {}})


def _schedules(world: World, maker: Maker) -> None:
    workflow_id = world.values["workflow_id"]

    def schedule() -> str:
        made = maker.post(f"/workflows/{workflow_id}/schedules", {"cron": "@yearly"})
        return str(made["id"])

    world.values["schedule_id"] = schedule()
    world.own |= {f"{verb} {SCHEDULE}": {"schedule_id": schedule()} for verb in ("PATCH", "DELETE")}


def _runs(world: World, maker: Maker) -> None:
    workflow_id = maker.workflow(LOG, COPY)
    done = maker.run(workflow_id, {"large": LARGE}, "succeeded")
    told = next(step["output"] for step in done["steps"] if step["path"] == "copy")
    artifact = told["$artifact"]["sha256"]
    world.values |= {"run_id": done["id"], "path": "note", "sha256": artifact}
    waiting = maker.workflow(WAIT)

    def parked() -> str:
        return str(maker.run(waiting, {}, "waiting")["id"])

    paused = parked()
    maker.post(f"/runs/{paused}/pause")
    failed = maker.run(maker.workflow(FAIL), {}, "failed")["id"]
    world.own |= {
        f"POST {RUN}/pause": {"run_id": parked()},
        f"POST {RUN}/resume": {"run_id": paused},
        f"POST {RUN}/cancel": {"run_id": parked()},
        f"POST {RUN}/steps/{{path}}/retry": {"run_id": failed, "path": "break"},
    }
    world.bodies |= {
        "POST /api/v1/runs/cancel": {"ids": [parked()]},
        "POST /api/v1/runs/retry": {"ids": [parked()]},
        f"POST {RUN}/replay": {"version": "same"},
    }


def _approvals(world: World, maker: Maker) -> None:
    config = {"approvers": [ADA, CFO], "prompt": "Ship it?", "allow_self": True}
    asking = maker.workflow({"id": "sign_off", "type": "approval", "config": config})

    def asked() -> str:
        run = maker.run(asking, {}, "waiting")
        return str(run["waiting_for"][0]["approval_id"])

    def link() -> str:
        made = maker.post(f"/approvals/{asked()}/links", {"approver": CFO})
        return str(made["url"]).rsplit("/", 1)[1]

    world.values["approval_id"] = asked()
    for verb in ("approve", "reject"):
        world.own[f"POST {APPROVAL}/{verb}"] = {"approval_id": asked()}
        world.bodies[f"POST {APPROVAL}/{verb}"] = {"comment": "seen"}
    world.bodies[f"POST {APPROVAL}/links"] = {"approver": CFO}
    world.own |= {f"GET {LINK}": {"token": link()}, f"POST {LINK}": {"token": link()}}
    world.bodies[f"POST {LINK}"] = {"decision": "approve"}


def _teams(world: World, maker: Maker) -> None:
    def team(*members: str) -> str:
        maker.made += 1
        team_id = maker.post("/teams", {"name": f"Team {maker.made}"})["id"]
        for email in members:
            path = f"/teams/{team_id}/members/{email}"
            maker.http.put(path, json={"role": "viewer"}).raise_for_status()
        return str(team_id)

    for email in (CFO, "carl@contract.example"):
        register(maker.http, email)
    world.values |= {"team_id": team(CFO), "email": CFO}
    for apart in (f"PATCH {TEAM}", f"DELETE {TEAM}", f"PUT {TEAM}/policy"):
        world.own[apart] = {"team_id": team()}
    world.own[f"DELETE {MEMBER}"] = {"team_id": team("carl@contract.example"), "email": "carl@contract.example"}  # fmt: skip
    world.bodies |= {
        f"PATCH {TEAM}": {"name": "Renamed"},
        f"PUT {MEMBER}": {"role": "editor"},
        f"PUT {TEAM}/policy": POLICY,
        f"POST {WORKFLOW}/transfer": {"team": world.values["team_id"]},
        f"PUT {WORKFLOW}/shares": {"user": CFO, "role": "viewer"},
    }
    shared = maker.workflow()
    body = {"user": CFO, "role": "viewer"}
    maker.http.put(f"/workflows/{shared}/shares", json=body).raise_for_status()
    world.own[f"DELETE {WORKFLOW}/shares"] = {"workflow_id": shared, "user": CFO}


def _people(world: World, maker: Maker) -> None:
    dora = register(maker.http, "dora@contract.example")
    refresh_token = sign_in(maker.http, ADA)["refresh_token"]
    sign_in(maker.http, ADA)
    sessions = maker.get("/me/sessions")["items"]
    other = next(one["id"] for one in sessions if not one["current"])
    key = {"name": "ci", "scopes": ["runs:read"]}
    world.own |= {
        "PATCH /api/v1/admin/users/{user_id}": {"user_id": dora},
        "DELETE /api/v1/me/sessions/{session_id}": {"session_id": other},
        "DELETE /api/v1/api-keys/{key_id}": {"key_id": maker.post("/api-keys", key)["id"]},
        "DELETE /api/v1/admin/invitations/{invitation_id}": {
            "invitation_id": maker.post("/admin/invitations", {"role": "member"})["id"]
        },
    }
    world.bodies |= {
        "POST /api/v1/token/refresh": {"refresh_token": refresh_token},
        "POST /api/v1/api-keys": key,
        "POST /api/v1/login": {"username": ADA, "password": PASSWORD},
        "PATCH /api/v1/admin/users/{user_id}": {"role": "operator"},
    }


def _guards(world: World, maker: Maker) -> None:
    def credential(name: str) -> str:
        data = {"token": "a token of six and more"}
        return str(maker.post("/credentials", {"name": name, "kind": "bearer", "data": data})["id"])

    def switch() -> str:
        form = {"scope": "workflow", "target": maker.workflow(), "mode": "drain", "reason": "test"}
        return str(maker.post("/admin/kill-switches", form)["id"])

    world.values |= {"credential_id": credential("read"), "switch_id": switch()}
    maker.http.delete(f"/admin/kill-switches/{world.values['switch_id']}").raise_for_status()
    world.own |= {
        f"PUT {CREDENTIAL}": {"credential_id": credential("changed")},
        f"DELETE {CREDENTIAL}": {"credential_id": credential("deleted")},
        f"DELETE {SWITCH}": {"switch_id": switch()},
    }
    world.bodies |= {
        f"PUT {CREDENTIAL}": {"name": "changed", "kind": "bearer"},
        "POST /api/v1/admin/kill-switches": {
            "scope": "workflow",
            "target": maker.workflow(),
            "mode": "halt",
            "reason": "test",
        },
    }
