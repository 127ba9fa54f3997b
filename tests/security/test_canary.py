"""A canary of each kind of secret through every path of the real processes, then a look into all that is left of it."""

import base64
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest

from app.core.clock import SystemClock
from app.core.statuses import WebhookScheme
from app.engine.credentials.kinds import KINDS
from tests.e2e.crash.harness.platform import Platform
from tests.e2e.crash.harness.programs import free_port
from tests.security.canaries import Overheard, Search, canary, files_below, kept_in_redis, rows_of
from tests.security.echo import TokenEcho, echo_in_a_thread
from tests.unit.webhooks.signing import headers_of

pytestmark = pytest.mark.crash

NODES = Path(__file__).parents[1] / "integration" / "engine" / "secret_nodes"
ADA, CFO = "ada@example.com", "cfo@example.com"
ENCRYPTION_KEY = b"Cnry-encryption-key-4c7a19f2e8!!"
SHOWN_BY_DESIGN = {
    "/api/v1/workflows": frozenset({"webhook token"}),
    "/api/v1/workflows/{workflow_id}": frozenset({"webhook token"}),
}
"""Who may edit a workflow reads its `webhook_url` again; everything else is in the one answer that makes it, and not looked for there."""
ENDLESS = {"/api/v1/runs/stream", "/api/v1/runs/{run_id}/stream"}
NOT_CALLED = {"/api/v1/oidc/login", "/api/v1/oidc/callback", "/api/v1/approvals/links/{token}"}
"""They need a provider, or answer to whoever holds the link."""


@dataclass
class Story:
    """The platform, whoever is logged in, what they made, and what is looked for."""

    platform: Platform
    echo: TokenEcho
    search: Search
    names: dict[str, set[str]] = field(default_factory=dict)
    """Ids by the names that routes give them."""

    @property
    def http(self) -> httpx.Client:
        return self.platform.http

    def post(self, path: str, body: Any = None, **options: Any) -> Any:
        answer = self.http.post(path, json=body, **options)
        assert answer.is_success, f"{path}: {answer.text}"
        return answer.json()

    def note(self, name: str, *ids: str) -> str:
        self.names.setdefault(name, set()).update(ids)
        return ids[0]

    def save(self, name: str, *steps: Mapping[str, Any], **fields: Any) -> dict[str, Any]:
        form = {"name": name, "definition": {"steps": [*steps]}, **fields}
        saved: dict[str, Any] = self.post("/workflows", form)
        self.note("workflow_id", saved["id"])
        return saved

    def until(self, run_id: str, *statuses: str) -> dict[str, Any]:
        run: dict[str, Any] = {}

        def stands_there() -> bool:
            run.update(self.http.get(f"/runs/{run_id}").json())
            return run["status"] in statuses

        self.platform.until(stands_there)
        return run

    def ended(self, run_id: str) -> dict[str, Any]:
        return self.until(run_id, "succeeded", "failed", "cancelled", "timed_out")


@pytest.fixture
def folder() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="automateos-canary-"))
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def search() -> Search:
    return Search()


@pytest.fixture
def platform(folder: Path, database_url: str, redis_url: str, search: Search) -> Iterator[Platform]:
    """API and worker that tell all they can, as text or as JSON."""
    keys = base64.b64encode(ENCRYPTION_KEY).decode()
    platform = Platform(
        folder,
        database_url,
        redis_url,
        PLUGINS_DIR=str(NODES),
        SECRET_KEY=search.add("SECRET_KEY", canary("SECRET_KEY")),
        ENCRYPTION_KEYS=f"k1:{search.add('ENCRYPTION_KEYS', keys)}",
        METRICS_TOKEN=search.add("METRICS_TOKEN", "Cnry-metrics-4c7a19f2e8-7b3d50a1c6"),
        OIDC_ISSUER="http://127.0.0.1:9/realm",
        OIDC_CLIENT_ID="automateos",
        OIDC_CLIENT_SECRET=search.add("OIDC_CLIENT_SECRET", canary("OIDC_CLIENT_SECRET")),
        METRICS_PORT=free_port(),
        LOG_LEVEL="debug",
        LOG_FORMAT="json" if "sqlite" in database_url else "text",
    )
    search.add("the encryption key itself", ENCRYPTION_KEY.decode())
    try:
        platform.api()
        platform.worker()
        yield platform
    finally:
        platform.stop()


def test_no_secret_is_seen_again(
    platform: Platform, redis_url: str, database_url: str, search: Search, folder: Path
) -> None:
    with echo_in_a_thread() as echo, Overheard(redis_url) as overheard:
        story = Story(platform, echo, search)
        _sign_up(story)
        _keep_credentials(story)
        run_ids = _play(story)
        _go_wrong(story)
        _look_at_answers(story, run_ids)
        _look_at_redis(search, redis_url, "what Redis keeps")
    assert search.found == []
    for command in overheard.said:
        search.look("what Redis was told", command)
    for table, row in rows_of(database_url):
        search.look(f"table {table}", row)
    for name, content in files_below(folder):
        search.look(f"file {name}", content)
    if database_url.startswith("sqlite"):
        search.look("the database file", Path(database_url.removeprefix("sqlite:///")).read_bytes())
    _look_at_processes(search, folder)

    assert search.found == []
    _assert_that_enough_was_searched(search)


def _sign_up(story: Story) -> None:
    """Make two accounts, with a session and an API key; each secret is shown in the one answer that makes it."""
    passwords = {email: story.search.add(f"password of {email}", canary(f"pw{email[:3]}")) for email in (ADA, CFO)}  # fmt: skip
    for email, password in passwords.items():
        story.post("/register", {"email": email, "password": password})
        form = {"username": email, "password": password}
        session = story.http.post("/login", data=form).json()
        for name in ("access_token", "refresh_token"):
            story.search.add(f"{name} of {email}", session[name])
        if email == ADA:
            story.http.headers["Authorization"] = f"Bearer {session['access_token']}"
            again = story.post("/token/refresh", {"refresh_token": session["refresh_token"]})
            story.search.add("second refresh_token", again["refresh_token"])
    made = story.post("/api-keys", {"name": "ci", "scopes": ["runs:read", "runs:write"]})
    story.search.add("API key", made["key"].split("_", 2)[2])
    story.platform.http.get("/runs", headers={"X-API-Key": made["key"], "Authorization": ""})
    story.note("team_id", story.post("/teams", {"name": "Finance"})["id"])
    stop = {"scope": "node_type", "target": "fail", "mode": "drain", "reason": "a drill"}
    story.note("switch_id", story.post("/admin/kill-switches", stop)["id"])
    invited = story.post("/admin/invitations", {"email": "eve@example.com", "role": "member"})
    story.search.add("invitation", next(v for v in invited.values() if str(v).startswith("inv_")))


def _keep_credentials(story: Story) -> None:
    """Keep one credential of each kind."""
    add, url = story.search.add, story.echo.url
    secret = {kind: add(f"credential {kind}", canary(kind)) for kind in KINDS}
    story.echo.access_token = add("fetched access token", canary("fetched"))
    data: dict[str, dict[str, Any]] = {
        "bearer": {"token": secret["bearer"]},
        "basic": {"username": "ada", "password": secret["basic"]},
        "api_key_header": {"header": "X-Key", "value": secret["api_key_header"]},
        "hmac": {"secret": secret["hmac"], "header": "X-Hub-Signature-256"},
        "oauth2_client_credentials": {"token_url": f"{url}token", "client_id": "ada", "client_secret": secret["oauth2_client_credentials"]},
        "smtp": {"host": "mail", "port": 25, "username": "a", "password": secret["smtp"]},
        "database": {"url": f"postgresql://ada:{_escaped(secret['database'])}@db/crm"},
        "generic": {"key": secret["generic"], "more": f"more of {secret['generic']}"},
    }  # fmt: skip
    assert data.keys() == KINDS.keys()
    for kind, held in data.items():
        form = {"name": kind, "kind": kind, "data": held}
        if KINDS[kind].over_http or kind == "generic":
            form["allowed_hosts"] = ["127.0.0.1"]
        kept = story.post("/credentials", form)
        story.note("credential_id", kept["id"])
        wrong = story.http.post(
            "/credentials", json={**form, "name": "a/b", "data": {**held, "x": held}}
        )
        assert wrong.status_code == 422
        story.search.look("a refused credential", wrong.content)


def _escaped(secret: str) -> str:
    return httpx.QueryParams({"x": secret}).__str__().removeprefix("x=").replace("+", "%20")


def _steps(url: str) -> list[dict[str, Any]]:
    """Send, raise, log, publish, attach and pass on every secret by every way there is."""
    sent = [
        {"id": f"send_{kind}", "type": "http_request_node",
         "config": {"url": url, "method": "POST", "credential": kind, "evidence": True, "text": "hello"}}
        for kind, it in KINDS.items() if it.over_http
    ]  # fmt: skip
    slips = [
        {"id": f"{how}_{kind}{node.removeprefix('careless')}", "type": node, "on_error": "continue",
         "retry": {"max_attempts": 2, "initial_delay_seconds": 0},
         "config": {"how": how, "credential": kind, "host": "127.0.0.1", "told": "t ${{ secrets.generic.key }}"}}
        for kind, how, node in [
            *((kind, "return", "careless") for kind in KINDS),
            *(("generic", how, "careless") for how in ("raise", "fail", "retry", "suspend", "emit")),
            *(("database", how, "careless_alone") for how in ("return", "raise")),
        ]
    ]  # fmt: skip
    passed = [
        {"id": f"{type_}_{kind}", "type": type_, "config": config}
        for kind in KINDS
        for value in [f"${{{{ steps.return_{kind}.output }}}}"]
        for type_, config in {
            "log": {"message": f"${{{{ to_json(steps.return_{kind}.output) }}}}", "data": value},
            "emit_event": {"event_type": "x", "payload": value},
            "run_workflow": {"workflow": "child", "input": value},
        }.items()
    ]
    query = {"key": "${{ secrets.generic.key }}"}
    refused = {"url": url, "method": "POST", "json_body": query, "query": query, "expected_status": [418], "evidence": True}  # fmt: skip
    return [
        *sent,
        *slips,
        {"id": "refused", "type": "http_request_node", "on_error": "continue", "config": refused},
        {"id": "gone", "type": "http_request_node", "on_error": "continue",
         "config": {"url": "http://127.0.0.1:1/${{ secrets.bearer }}", "query": query}},
        *passed,
        {"id": "large", "type": "http_request_node",
         "config": {"url": url, "method": "POST", "credential": "bearer", "text": "${{ input.large }}"}},
        {"id": "hang", "type": "careless", "on_error": "continue", "timeout_seconds": 3,
         "config": {"how": "hang", "credential": "generic", "told": "${{ secrets.bearer }}"}},
        {"id": "ask", "type": "approval", "config": {"approvers": [CFO, ADA], "allow_self": True, "prompt": '${{ steps.send_bearer.output.headers["x-told"] }}'}},
        {"id": "respond", "type": "respond", "config": {"body": "${{ steps.send_bearer.output }}"}},
    ]  # fmt: skip


def _play(story: Story) -> list[str]:
    """Run it all, kill the worker in the middle, approve, replay, and call the webhooks; returns the runs."""
    child = {"id": "pass", "type": "transform", "config": {"value": "${{ input }}"}}
    story.save("child", child)
    hooks = [{"workflow": "child", "url": story.echo.url}]
    main = story.save("main", *_steps(story.echo.url), on_success=hooks, on_failure=hooks)
    token = story.search.add("webhook token", main["webhook_url"].rpartition("token=")[2])
    started = httpx.post(main["webhook_url"], json={"large": "x" * 40_000})
    run_id = str(started.json()["run_id"])
    story.note("schedule_id", story.post(f"/workflows/{main['id']}/schedules", {"cron": "@daily"})["id"])  # fmt: skip
    _kill_the_worker_while_it_hangs(story, run_id)
    waiting = story.until(run_id, "waiting", "failed")
    assert waiting["status"] == "waiting", waiting["error"]
    approval_id = story.note("approval_id", waiting["waiting_for"][0]["approval_id"])
    link = story.post(f"/approvals/{approval_id}/links", {"approver": CFO})
    story.search.add("approval link", link["url"].rpartition("/")[2])
    story.post(f"/approvals/{approval_id}/approve", {"comment": "fine"})
    run = story.ended(run_id)
    assert run["status"] == "succeeded", run["error"]
    story.platform.until(lambda: _hooks_are_called(story, run_id))
    (large,) = [step for step in run["steps"] if step["path"] == "large"]
    story.note("sha256", large["output"]["$artifact"]["sha256"])
    replayed = story.post(f"/runs/{run_id}/replay", {"version": "same"})["run_id"]
    story.until(replayed, "waiting", "failed")
    story.post(f"/runs/{replayed}/cancel", {"reason": "seen enough"})
    _call_a_signed_webhook(story)
    assert httpx.post(main["webhook_url"].replace(token, token[:-1]), json={}).status_code == 401
    return [item["id"] for item in story.http.get("/runs", params={"limit": 200}).json()["items"]]


def _hooks_are_called(story: Story, run_id: str) -> bool:
    calls = story.http.get(f"/runs/{run_id}").json()["hook_calls"]
    return bool(calls) and all(call["answered_at"] for call in calls)


def _kill_the_worker_while_it_hangs(story: Story, run_id: str) -> None:
    """Kill the worker within the step that holds secrets; the next one attempts it again."""
    attempts = f"/runs/{run_id}/steps/hang/attempts"
    story.platform.until(lambda: "running" in story.http.get(attempts).text)
    _look_at_redis(story.search, story.platform.redis_url, "what Redis keeps meanwhile")
    story.platform.kill_workers()
    story.platform.worker(METRICS_PORT=story.platform.settings["METRICS_PORT"])


def _call_a_signed_webhook(story: Story) -> None:
    secret = story.search.add("webhook signing secret", canary("webhook"))
    rules = {"auth": "signature", "scheme": "hmac", "secret": secret}
    signed = story.save("signed", {"type": "transform", "config": {"value": 1}}, webhook=rules)
    body, now = b'{"n": 1}', int(SystemClock().now().timestamp())
    headers = headers_of(WebhookScheme.HMAC, body, now, key=secret.encode())
    kind = {"content-type": "application/json"}
    taken = httpx.post(signed["webhook_url"], content=body, headers=headers | kind)
    wrong = httpx.post(signed["webhook_url"], content=b"{}", headers=headers | kind)
    assert (taken.status_code, wrong.status_code) == (202, 401)
    story.search.look("the saved webhook", str(signed))


def _go_wrong(story: Story) -> None:
    """Send secrets to where they do not belong; no answer repeats one, and no log."""
    http, secret = story.http, canary("pwada")
    wrong = [
        http.post("/login", data={"username": ADA, "password": secret + "x"}),
        http.post("/register", json={"email": "no address", "password": secret}),
        http.post("/register", json={"email": ADA, "password": secret}),
        http.post("/me/password", json={"current_password": secret, "new_password": "short"}),
        http.post("/me/password", json={"current_password": "wrong one", "new_password": secret}),
        http.post("/token/refresh", json={"refresh_token": secret, "x": secret}),
        http.post("/api-keys", content=b'{"name": "' + secret.encode(), headers={"content-type": "application/json"}),
        http.get("/runs", headers={"Authorization": f"Bearer {secret}"}),
        http.get("/runs", headers={"X-API-Key": secret, "Authorization": ""}),
        http.get("/me", headers={"X-Large": secret * 2_000}),
        http.get(f"http://127.0.0.1:{story.platform.settings['PORT']}/metrics", headers={"Authorization": f"Bearer {secret}"}),
    ]  # fmt: skip
    assert [answer.status_code for answer in wrong if answer.is_success] == []
    for answer in wrong:
        story.search.look("a refusal", answer.content)


def _look_at_answers(story: Story, run_ids: Iterable[str]) -> None:
    """Search every GET of the API, for every object there is."""
    http, search = story.http, story.search
    story.note("run_id", *run_ids)
    base = f"http://127.0.0.1:{story.platform.settings['PORT']}"
    document = http.get(f"{base}/openapi.json").json()
    for route, operations in document["paths"].items():
        if "get" not in operations or route in NOT_CALLED:
            continue
        for address in _addresses(story, route):
            shown = SHOWN_BY_DESIGN.get(route, frozenset())
            search.look(f"GET {route}", _read(http, base + address, route in ENDLESS), shown)
    secret = story.platform.settings["METRICS_TOKEN"]
    for port in (story.platform.settings["PORT"], story.platform.settings["METRICS_PORT"]):
        told = http.get(f"http://127.0.0.1:{port}/metrics", headers={"Authorization": f"Bearer {secret}"})  # fmt: skip
        assert "automateos_" in told.text
        search.look("the metrics", told.content)


def _addresses(story: Story, route: str) -> Iterator[str]:
    """Yield a route's address for each object that it could name."""
    if "{path}" in route:
        for run_id in story.names["run_id"]:
            for step in story.http.get(f"/runs/{run_id}").json()["steps"]:
                yield route.format(run_id=run_id, path=step["path"])
        return
    others = {"number": {"1"}, "node_type": {"careless"}}
    named = [name for name in {**story.names, **others} if f"{{{name}}}" in route]
    addresses = [route]
    for name in named:
        ids = {**others, **story.names}[name]
        addresses = [one.replace(f"{{{name}}}", id_) for one in addresses for id_ in ids]
    yield from addresses


def _read(http: httpx.Client, address: str, endless: bool) -> bytes:
    """Return an answer with its headers; of one that goes on for ever, what comes at once."""
    said = bytearray()
    try:
        with http.stream("GET", address, timeout=1.0 if endless else 30.0) as answer:
            said += repr(answer.headers.raw).encode()
            for piece in answer.iter_bytes():
                said += piece
    except httpx.ReadTimeout:
        assert endless, address
    return bytes(said)


def _look_at_redis(search: Search, url: str, place: str) -> None:
    for key, value in kept_in_redis(url):
        search.look(f"{place}: {key.partition(':')[0]}", value)


def _look_at_processes(search: Search, folder: Path) -> None:
    """Search the command lines of the platform's processes, which everybody on the machine may read."""
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            search.look("a command line", entry.read_bytes())
        except OSError:
            continue
    assert folder.exists()


def _assert_that_enough_was_searched(search: Search) -> None:
    """A search that looks at nothing finds nothing."""
    seen = search.looked_at
    for place in ("GET /api/v1/runs/{run_id}", "GET /api/v1/admin/audit/export", "table runs", "table steps", "what Redis was told", "GET /api/v1/runs/{run_id}/evidence/bundle"):  # fmt: skip
        assert seen[place] > 1_000, place
    assert sum(size for place, size in seen.items() if place.startswith("file worker")) > 1_000
    assert len(search.forms) >= 24
