"""Threats to and by what runs: calls into the network, forged jobs, decisions, switches, plug-ins, the audit log, browsers.

docs/security.md lists them all.
"""

import asyncio
import gzip
import hashlib
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from redis import Redis
from rq import Callback, Queue
from rq.serializers import JSONSerializer
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlmodel import Session, select

from app.api.container import Container
from app.core.config import Settings
from app.engine.audit.anchors import anchor_file
from app.engine.delivery import process
from app.engine.delivery.hints import ADVANCE_RUNS
from app.engine.delivery.lanes import LANES, MIXED
from app.engine.delivery.process import WorkerProcess
from app.engine.duties.audit_anchors import AuditAnchors
from app.engine.egress.client import build_client
from app.models import ApprovalLink
from tests.integration.api.conftest import Caller, Sign, client_of, running
from tests.security.runs import ended, run_of, start, step, until, value_of, workflow_of
from tests.unit.egress.loopback import Loopback, Names, NoNetwork, reply, serve
from tests.unit.egress.test_client import HOSTILE

CFO = "cfo@example.com"
APPROVAL = step("approval", approvers=[CFO], prompt="Ship?")
FETCH = step("http_request_node", url="${{ input }}", timeout_seconds=5)
BROKEN_PLUGINS = {
    "bad_syntax.py": "def (",
    "exits.py": "raise SystemExit(1)",
    "unknown_import.py": "import no_such_module_of_anybody",
    "collides.py": (
        "from app.engine.sdk import Node, NodeConfig\n\n\nclass Mine(Node[NodeConfig, int]):\n    type = 'log'\n\n"
        "    def run(self, config, context):\n        return 1\n"
    ),
}
Working = Callable[..., AbstractAsyncContextManager[WorkerProcess]]
PATIENCE_SECONDS = 30.0
HTML = "<html><script>alert(document.cookie)</script></html>"


@pytest.fixture
async def doorway() -> AsyncIterator[Loopback]:
    """The one server that an operator has opened: it redirects to wherever a test says."""
    async with serve(reply()) as server:
        yield server


@pytest.fixture
def settings(settings: Settings, doorway: Loopback, tmp_path: Path) -> Settings:
    """With the doorway open, and a folder of plug-ins that are all broken."""
    plugins = tmp_path / "plugins"
    plugins.mkdir()
    for name, text_ in BROKEN_PLUGINS.items():
        (plugins / name).write_text(text_)
    opened = (f"127.0.0.1:{doorway.port}",)
    return settings.model_copy(update={"egress_allow": opened, "plugins_dir": plugins})


@pytest.fixture
def working(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Working:
    """Makes a worker for the length of a block, which reaches the world by the name server and network given."""

    @asynccontextmanager
    async def working(**network: Any) -> AsyncIterator[WorkerProcess]:
        monkeypatch.setattr(process, "build_client", partial(build_client, **network))
        worker = WorkerProcess(settings)
        worker.begin()
        try:
            yield worker
        finally:
            await worker.end()

    return working


def _statuses(answers: Iterable[httpx.Response]) -> list[int]:
    return [answer.status_code for answer in answers]


async def _call(caller: Caller, workflow: dict[str, Any], url: str) -> dict[str, Any]:
    """Return the error of a run that calls a URL."""
    run = await ended(caller, await start(caller, workflow, url))
    assert run["status"] == "failed", run
    return dict(run["error"])


async def test_no_call_reaches_the_network_inside(
    ada: Caller,
    working: Working,
    names: Names,
    network: NoNetwork,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Hosts, limits and name servers one by one: tests/unit/egress."""
    workflow = await workflow_of(ada, FETCH)
    async with serve(reply()) as proxy:
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "HTTPS_PROXY", "https_proxy"):
            monkeypatch.setenv(name, proxy.url())
        async with working(resolve=names, network=network):
            runs = [await start(ada, workflow, url) for url in [*HOSTILE, proxy.url()]]
            ends = [await ended(ada, run_id) for run_id in runs]

    assert {run["status"] for run in ends} == {"failed"}
    assert (network.targets, proxy.connections) == ([], 0)


async def test_a_redirect_opens_no_way_inside_and_tells_nothing_of_it(
    ada: Caller, working: Working, doorway: Loopback
) -> None:
    workflow = await workflow_of(ada, FETCH)
    async with serve(reply()) as canary, working():
        doorway.answers = [reply(302, headers=f"Location: {canary.url()}\r\n")]
        blocked = await _call(ada, workflow, doorway.url())
        doorway.answers = [reply(302, headers="Location: http://127.0.0.1:1/\r\n")]
        refused = await _call(ada, workflow, doorway.url())

    told = [
        error["message"].replace(f":{port}", "")
        for error, port in ((blocked, canary.port), (refused, 1))
    ]
    assert (canary.connections, len(doorway.requests)) == (0, 2)
    assert (blocked["code"], refused["code"]) == ("connect_failed", "connect_failed")
    assert told[0] == told[1]


async def test_a_name_that_changes_its_answer_is_connected_as_it_was_checked(
    ada: Caller, working: Working, network: NoNetwork
) -> None:
    """The first answer is public, later ones are not: who asks again in order to connect would be fooled."""
    answers = [["1.1.1.1"], ["127.0.0.1"]]

    async def rebinding(_: str) -> Sequence[str]:
        return answers.pop(0) if len(answers) > 1 else answers[0]

    workflow = await workflow_of(ada, FETCH)
    async with working(resolve=rebinding, network=network):
        errors = [await _call(ada, workflow, "http://rebind.test/") for _ in range(2)]

    assert network.targets == [("1.1.1.1", 80)]
    assert {error["code"] for error in errors} == {"connect_failed"}


async def test_a_target_that_drips_or_bursts_is_cut_off(
    ada: Caller, working: Working, doorway: Loopback
) -> None:
    """Decoders, headers and time-outs one by one: tests/unit/egress/test_limits.py."""

    async def drip(writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\n")
        while not writer.is_closing():
            writer.write(b".")
            await writer.drain()
            await asyncio.sleep(0.02)

    bomb = gzip.compress(b" " * 50_000_000)
    packed = reply(body=bomb, headers="Content-Encoding: gzip\r\nContent-Type: text/plain\r\n")
    doorway.answers = [drip, packed]
    fetch = {**FETCH, "config": FETCH["config"] | {"timeout_seconds": 0.5}}
    async with working():
        slow = await _call(ada, await workflow_of(ada, fetch), doorway.url())
        large = await _call(ada, await workflow_of(ada, FETCH), doorway.url())

    assert (slow["code"], large["code"]) == ("timeout", "response_too_large")


async def test_a_forged_job_runs_nothing(
    ada: Caller, worker: WorkerProcess, settings: Settings, tmp_path: Path
) -> None:
    """A worker as a process: tests/e2e/crash/test_queue.py."""
    del worker
    assert settings.redis_url is not None
    mark = tmp_path / "mark"
    command, touch = f"touch {mark}", Callback("os.system")
    with Redis.from_url(settings.redis_url) as redis:
        forged = Queue(MIXED, connection=redis, serializer=JSONSerializer)
        forged.enqueue_call("os.system", args=(command,))
        forged.enqueue_call("builtins.exec", args=(f"__import__('os').system({command!r})",))
        hint = {LANES[0]: [command, "no id", None, 7]}
        forged.enqueue_call(ADVANCE_RUNS, args=(hint,), on_success=touch, on_failure=touch)
        Queue(LANES[0], connection=redis).enqueue_call("os.system", args=(command,))  # a pickle
        redis.hset("rq:job:garbage", mapping={"data": b"\xff\x80garbage", "created_at": "never"})
        redis.rpush(f"rq:queue:{LANES[1]}", "garbage", b"\xff\xfe")

        run = await run_of(ada, value_of("1 + 1"))
        await _until(lambda: not redis.llen(f"rq:queue:{MIXED}"))

    assert (run["output"], mark.exists()) == (2, False)


async def _until(condition: Callable[[], bool]) -> None:
    deadline = asyncio.get_running_loop().time() + PATIENCE_SECONDS
    while not await asyncio.to_thread(condition):
        assert asyncio.get_running_loop().time() < deadline, "it did not come true in time"
        await asyncio.sleep(0.02)


async def test_of_many_decisions_one_wins_and_looking_decides_nothing(
    ada: Caller, sign_up: Sign, container: Container, worker: WorkerProcess
) -> None:
    """Links, escalation and time-outs: tests/integration/api/test_approvals.py."""
    del worker
    cfo = await sign_up(CFO)
    run_id = await start(ada, await workflow_of(ada, APPROVAL))
    approval_id = (await until(ada, run_id, "waiting"))["waiting_for"][0]["approval_id"]
    address = f"/approvals/{approval_id}"
    link = (await ada.post(f"{address}/links", {"approver": CFO})).json()["url"]
    with Session(container.engine) as session:
        kept = str([one.model_dump() for one in session.exec(select(ApprovalLink)).all()])

    looked = [await ada.http.get(link) for _ in range(2)]
    own = await ada.post(f"{address}/approve")
    still = (await ada.get(address)).json()["status"]
    said = ("approve", "reject") * 10
    answers = await asyncio.gather(*(cfo.post(f"{address}/{way}") for way in said))
    late = await ada.http.post(link, json={"decision": "approve"})
    run = await ended(ada, run_id)

    assert _statuses(looked) == [200, 200]
    assert (own.status_code, still) == (403, "pending")
    assert sorted(_statuses(answers)) == [200] + [409] * 19
    (winner,) = [answer.json() for answer in answers if answer.status_code == 200]
    assert run["status"] == ("succeeded" if winner["status"] == "approved" else "failed")
    assert late.status_code == 409
    assert link.rpartition("/")[2] not in kept


async def test_a_kill_switch_stops_everything_and_outlives_a_restart(
    ada: Caller, settings: Settings, working: Working, doorway: Loopback
) -> None:
    """Scopes, modes and what is in flight: tests/integration/api/test_kill_switches.py and tests/integration/engine/test_kill_switches.py."""
    steps = [{"type": "wait_for_event", "config": {"event_type": "go"}}, FETCH]
    workflow = await workflow_of(ada, *steps)
    async with working():
        waiting = await start(ada, workflow, doorway.url())
        await until(ada, waiting, "waiting")
        await ada.post("/admin/kill_switch", params={"enabled": True})
        refused = await ada.http.post(workflow["webhook_url"], json={})
    async with running(settings) as again, client_of(again) as http, working():
        other = Caller(http, ada.email, ada.headers)
        mode = (await other.get("/admin/status")).json()["mode"]
        still_refused = await http.post(workflow["webhook_url"], json={})
        await other.post("/events", {"type": "go"})
        held = await until(other, waiting, "paused", "waiting")
        called_while_stopped = doorway.connections
        await other.post("/admin/kill_switch", params={"enabled": False})
        run = await ended(other, waiting)

    assert (_statuses([refused, still_refused]), mode) == ([503, 503], "halt")
    assert (held["output"], called_while_stopped) == (None, 0)
    assert (run["status"], len(doorway.requests)) == ("succeeded", 1)


async def test_a_broken_plug_in_harms_nothing_else(ada: Caller, worker: WorkerProcess) -> None:
    """Nodes that go wrong when they run: tests/integration/engine/test_bad_nodes.py and test_isolation.py."""
    del worker
    catalogue = (await ada.get("/nodes")).json()
    log = (await ada.get("/nodes/log")).json()

    run = await run_of(ada, step("log", message="fine"), value_of("1 + 1"))

    failed = {Path(one["source"]).name: one["error"] for one in catalogue["failures"]}
    assert failed.keys() == BROKEN_PLUGINS.keys()
    assert all(failed.values())
    assert "plugins" not in log["source"]
    assert (run["status"], run["output"]) == ("succeeded", 2)


async def test_plug_ins_are_put_on_record_and_never_uploaded(
    ada: Caller, app: FastAPI, worker: WorkerProcess
) -> None:
    del worker
    entries: list[dict[str, Any]] = []
    deadline = asyncio.get_running_loop().time() + PATIENCE_SECONDS
    while not entries and asyncio.get_running_loop().time() < deadline:
        entries = (await ada.get("/admin/audit?action=plugins.loaded")).json()["items"]
    paths = app.openapi()["paths"]
    taken = {
        kind
        for operations in paths.values()
        for operation in operations.values()
        for kind in operation.get("requestBody", {}).get("content", {})
    }

    (entry,) = entries
    files = {Path(it["file"]).name: it["sha256"] for it in entry["details"]["files"]}
    expected = {n: hashlib.sha256(t.encode()).hexdigest() for n, t in BROKEN_PLUGINS.items()}
    assert files == expected
    assert {method for path, it in paths.items() if "/nodes" in path for method in it} == {"get"}
    assert taken <= {"application/json", "application/x-www-form-urlencoded", "multipart/form-data"}


async def test_the_audit_log_cannot_be_changed_unseen(ada: Caller, container: Container) -> None:
    """Every way to tamper: tests/integration/db/test_audit.py. What is put on record: tests/integration/api/test_audit.py."""
    for n in range(3):
        await ada.save(name=str(n))
    AuditAnchors(container.engine, anchor_file(container.settings), {}).run_once()
    well = (await ada.get("/admin/audit/verify")).json()

    refused = [
        _refuses(container, sql)
        for sql in (
            "UPDATE audit_log SET actor_email = 'bob@x.org' WHERE seq = 4",
            "DELETE FROM audit_log WHERE seq = 4",
            "DELETE FROM audit_log",
        )
    ]
    _tamper(container, "DELETE FROM audit_log WHERE seq = (SELECT max(seq) FROM audit_log)")
    cut = (await ada.get("/admin/audit/verify")).json()
    _tamper(container, "UPDATE audit_log SET actor_email = 'bob@x.org' WHERE seq = 4")
    changed = (await ada.get("/admin/audit/verify")).json()

    assert (well["valid"], well["first_bad"], well["anchored_seq"]) == (True, None, 5)
    assert refused == [True] * 3
    assert (cut["valid"], cut["first_bad"]["seq"]) == (False, 5)
    assert (changed["first_bad"]["seq"], changed["first_bad"]["reason"]) == (4, "changed")


def _refuses(container: Container, sql: str) -> bool:
    try:
        with container.engine.begin() as connection:
            connection.execute(text(sql))
    except DBAPIError:
        return True
    return False


def _tamper(container: Container, sql: str) -> None:
    """Do what only the database's administrator can do."""
    with container.engine.begin() as connection:
        if connection.dialect.name == "postgresql":
            connection.execute(text("ALTER TABLE audit_log DISABLE TRIGGER ALL"))
        else:
            triggers = (
                "SELECT name FROM sqlite_master WHERE type = 'trigger' AND tbl_name = 'audit_log'"
            )
            for name in connection.scalars(text(triggers)).all():
                connection.execute(text(f"DROP TRIGGER {name}"))
        connection.execute(text(sql))


async def test_browsers_run_nothing_of_what_users_wrote(ada: Caller, worker: WorkerProcess) -> None:
    """Other answers: tests/integration/api/test_waiting_calls.py, test_artifacts.py and test_bad_requests.py."""
    del worker
    kinds = {"html": "text/html", "svg": "image/svg+xml"}
    refused, answered = {}, {}
    for name, kind in kinds.items():
        says = step("respond", body=HTML, headers={"Content-Type": kind})
        saved = await ada.post("/workflows", {"name": name, "definition": {"steps": [says]}})
        refused[name] = saved.status_code
        if saved.status_code == 201:
            url = saved.json()["webhook_url"]
            answered[name] = await ada.http.post(url, json={}, headers={"Prefer": "wait=20"})
    plain = await workflow_of(ada, step("respond", body=HTML), name=HTML)
    wait = {"Prefer": "wait=20", "Origin": "https://evil.example"}
    said = await ada.http.post(plain["webhook_url"], json={}, headers=wait)
    listed = await ada.get("/workflows", headers={"Origin": "https://evil.example"})
    asked = await ada.http.options("/api/v1/me", headers={"Origin": "https://evil.example", "Access-Control-Request-Method": "GET"})  # fmt: skip

    for answer in (said, listed, *answered.values()):
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert "sandbox" in answer.headers["content-security-policy"]
        assert "default-src 'none'" in answer.headers["content-security-policy"]
        assert not [name for name in answer.headers if name.startswith("access-control-")]
        assert "set-cookie" not in answer.headers
    assert said.headers["content-type"].startswith("text/plain")
    assert (asked.status_code, "access-control-allow-origin" in asked.headers) == (405, False)
