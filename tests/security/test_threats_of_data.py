"""Threats that come in as data: bodies, expressions, patterns, and loops that never end. docs/security.md lists them all."""

import asyncio
import gc
import gzip
import resource
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import pytest

from app.api import slow_clients
from app.core.config import Settings
from app.core.statuses import FINAL_RUN_STATUSES
from app.engine.delivery.process import WorkerProcess
from app.engine.language.expressions import ExpressionFault, compile_expression
from app.engine.planning import progress
from tests.integration.api.conftest import Caller
from tests.integration.api.test_bad_requests import BAD_JSON
from tests.integration.api.test_connection import PATIENCE_SECONDS, _server
from tests.security.runs import ended, run_of, start, step, value_of, workflow_of

JSON = {"content-type": "application/json"}
MEGABYTE = 1_048_576
TEMPLATES = "${{ 7*7 }} {{ 7*7 }} {% raw %} #{7*7} $(id) {0.__class__}"
BOMB_INPUT = {
    "big": "x" * 200_000,
    "wide": "é" * 50_000,
    "pairs": "ab" * 100_000,
    "rows": list(range(40_000)),
    "few": list(range(1_000)),
    "map": {f"k{number}": number for number in range(500)},
    "deep": [[[[]]]],
}
BOMBS = [
    "[1]" + "".join(f".map(a{n},[a{n},a{n}])" for n in range(30)),
    "input.rows.map(x, input.big.upper())",
    "input.few.map(x, input.few.map(y, input.few.map(z, 1)))",
    "input.rows.map(x, input.rows + input.rows)",
    "'aaaaaaaa'" + ".replace('a','aaaaaaaa')" * 20,
    "input.big.matches('(?:x?){900}y')",
    "input.few.map(x, input.big).join()",
    "from_json('" + "[" * 4000 + "')",
]


@pytest.mark.parametrize(
    "source",
    [
        "input.__class__.__mro__",
        "input['__class__']",
        "''.constructor('return process')()",
        "{}.__proto__.polluted",
        "os.system('touch {mark}')",
        "__import__('os').system('touch {mark}')",
        "eval('1')",
        "getattr(input, 'name')",
        "open('/etc/passwd')",
        "'{0.__class__}'.format(input)",
        "input.keys().__globals__",
    ],
)
async def test_an_expression_never_becomes_code(
    ada: Caller, worker: WorkerProcess, tmp_path: Path, source: str
) -> None:
    """Everything there is to try: tests/unit/language/expressions/test_limits.py and test_access.py, and tests/fuzz."""
    del worker
    mark = tmp_path / "mark"
    definition = {"steps": [value_of(source.replace("{mark}", str(mark)))]}

    saved = await ada.post("/workflows", {"name": "x", "definition": definition})
    if saved.status_code == 201:
        run = await ended(ada, await start(ada, saved.json(), {"name": "x"}))
        told = (run["status"], run["error"]["code"], run["output"])
        assert told == ("failed", "unknown_path", None)
    else:
        assert (saved.status_code, saved.json()["code"]) == (422, "invalid_definition")
    assert not mark.exists()


async def test_an_expression_cannot_use_up_the_worker(ada: Caller, worker: WorkerProcess) -> None:
    """Everything there is to try, each with its own limit of work: tests/unit/language/expressions/test_limits.py."""
    del worker
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    ends = [
        (run["status"], run["output"])
        for run in [await run_of(ada, value_of(bomb), value=BOMB_INPUT) for bomb in BOMBS]
    ]
    spent = [_seconds_of(bomb) for bomb in BOMBS]

    grown_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert ends == [("failed", None)] * len(BOMBS)
    assert max(spent) < 0.3
    assert grown_kib < 64 * 1024
    assert (await run_of(ada, value_of("1 + 1")))["output"] == 2


def _seconds_of(source: str) -> float:
    """Return what evaluating it costs of the processor's time, without the collections of all that the tests have made."""
    gc.disable()
    begun = time.thread_time()
    with suppress(ExpressionFault):
        compile_expression(source).evaluate({"input": BOMB_INPUT})
    spent = time.thread_time() - begun
    gc.enable()
    return spent


async def test_data_is_never_evaluated_a_second_time(ada: Caller, worker: WorkerProcess) -> None:
    """More of the language: tests/unit/language/expressions/test_templates.py."""
    del worker
    child = await workflow_of(ada, step("transform", value="<${{ input.name }}>"), name="child")
    loop = {
        **step("for_each", items="[input.name]"),
        "steps": [step("transform", value="${{ item }}") | {"id": "inner"}],
    }
    steps = (
        step("transform", value={"name": "${{ input.name }}", "${{ 1 + 1 }}": "key"}),
        step("log", message="${{ steps.transform.output.name }}"),
        loop,
        step("run_workflow", workflow="child", input="${{ steps.transform.output }}"),
        {"id": "last", "type": "transform", "config": {"value": "${{ steps }}"}},
    )

    run = await run_of(ada, *steps, value={"name": TEMPLATES})

    (below,) = (await ada.get("/runs", params={"workflow_id": child["id"]})).json()["items"]
    (line,) = (await ada.get(f"/runs/{run['id']}/logs")).json()["items"]
    assert run["status"] == "succeeded", run["error"]
    outputs = {name: told["output"] for name, told in run["output"].items()}
    assert outputs["transform"] == {"name": TEMPLATES, "${{ 1 + 1 }}": "key"}
    assert (outputs["for_each"], line["message"]) == ([TEMPLATES], TEMPLATES)
    assert outputs["run_workflow"]["output"] == f"<{TEMPLATES}>"
    assert (await ada.get(f"/runs/{below['id']}")).json()["output"] == f"<{TEMPLATES}>"


async def test_a_definition_in_a_trigger_is_data(ada: Caller, worker: WorkerProcess) -> None:
    del worker
    saved = await workflow_of(ada, value_of("input"))
    other = {"steps": [step("fail", message="smuggled in")]}
    body = {"definition": other, **other, "version": 7, "workflow_id": "7", "nodes": [], "owner_id": "7"}  # fmt: skip

    called = await ada.http.post(saved["webhook_url"], json=body)
    by_hand = await ada.post(f"/workflows/{saved['id']}/runs", {"input": {}, "definition": other})
    run = await ended(ada, called.json()["run_id"])

    assert (run["status"], run["output"], run["version"]) == ("succeeded", body, 1)
    assert (by_hand.status_code, by_hand.json()["errors"][0]["pointer"]) == (422, "/definition")
    assert (await ada.get(f"/workflows/{saved['id']}")).json() == saved


async def test_no_content_type_and_no_body_names_a_file(ada: Caller, worker: WorkerProcess) -> None:
    """Content types of every route: tests/integration/api/test_bad_requests.py. Artifacts: tests/integration/api/test_artifacts.py."""
    del worker
    saved = await workflow_of(ada, value_of("input"))
    body = {"files": {"a": {"filepath": "/etc/passwd", "path": "/etc/passwd"}}}

    tricks = [
        await ada.http.post(saved["webhook_url"], content=b"{}", headers={"content-type": kind})
        for kind in ("text/plain", "application/jsonx", "multipart/mixed; boundary=x", "image/png")
    ]
    file = await ada.http.post(saved["webhook_url"], files={"a": b"x"})
    called = await ada.http.post(saved["webhook_url"], json=body)
    run = await ended(ada, called.json()["run_id"])
    read = await run_of(ada, step("http_request_node", url="${{ input }}"), value="file:///etc/passwd")  # fmt: skip
    names = ("..%2f..%2f..%2fetc%2fpasswd", "%2fetc%2fpasswd", "secret_key", "a" * 64)
    artifacts = [await ada.get(f"/runs/{run['id']}/artifacts/{name}") for name in names]

    assert [answer.status_code for answer in tricks] == [415] * 4
    assert (file.status_code, run["output"]) == (400, body)
    assert (read["status"], read["error"]["code"]) == ("failed", "invalid_config")
    assert [answer.status_code for answer in artifacts] == [404] * 4


async def test_bad_json_is_refused_and_the_connection_lives_on(
    ada: Caller, settings: Settings
) -> None:
    """Every route and every limit: tests/integration/api/test_bad_requests.py and test_connection.py."""
    saved = await workflow_of(ada, value_of("input"))

    async with _server(settings) as address:
        limits = httpx.Limits(max_connections=1, max_keepalive_connections=1)
        async with httpx.AsyncClient(base_url=address, limits=limits) as client:
            path = saved["webhook_url"].removeprefix("http://test")
            told = {
                name: [
                    (await client.post(path, content=body, headers=JSON)).status_code,
                    (await client.get("/health")).status_code,
                ]
                for name, body in BAD_JSON.items()
            }
            packed = {**JSON, "content-encoding": "gzip"}
            bomb = await client.post(path, content=gzip.compress(b" " * MEGABYTE), headers=packed)
            good = await client.post(path, json={"a": 1})

    assert told == {name: [400, 200] for name in BAD_JSON}
    assert (bomb.status_code, good.status_code) == (415, 202)
    assert len((await ada.get("/runs")).json()["items"]) == 1


async def test_a_slow_client_is_cut_off(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """More ways to be slow: tests/integration/api/test_connection.py."""
    assert slow_clients.HEAD_SECONDS < 6
    monkeypatch.setattr(slow_clients, "HEAD_SECONDS", 0.3)
    head = b"POST /api/v1/register HTTP/1.1\r\nhost: test\r\ncontent-type: application/json\r\n"
    begun = (b"GET /health HTTP/1.1\r\nhost:", head + b"content-length: 9\r\n\r\n{")

    async with _server(settings.model_copy(update={"request_timeout_seconds": 0.3})) as address:
        heard = [await _said_to(address, words) for words in begun]

    assert [words[:12] for words in heard] == [b"HTTP/1.1 408"] * 2


async def _said_to(address: str, begun: bytes) -> bytes:
    """Return all that the server says to who sends no more than this, until it hangs up."""
    reader, writer = await asyncio.open_connection("127.0.0.1", int(address.rpartition(":")[2]))
    writer.write(begun)
    heard = await asyncio.wait_for(reader.read(), PATIENCE_SECONDS)
    writer.close()
    return heard


async def test_a_body_of_100_mb_is_not_taken_in(ada: Caller) -> None:
    saved, sent = await ada.save(), 0

    async def body() -> AsyncIterator[bytes]:
        nonlocal sent
        for _ in range(1_600):
            sent += 65_536
            yield b" " * 65_536

    answer = await ada.http.post(saved["webhook_url"], content=body(), headers=JSON)
    large = await ada.http.post(saved["webhook_url"], json={}, headers={"x-large": "x" * 40_000})

    assert (answer.status_code, large.status_code) == (413, 431)
    assert sent <= 2 * MEGABYTE


async def test_a_pattern_cannot_hold_up_the_platform(ada: Caller, worker: WorkerProcess) -> None:
    """Patterns and their limits: tests/unit/language/expressions/test_limits.py and tests/unit/language/test_input_schema.py."""
    del worker
    text = "a" * 100_000 + "!"
    inputs = {"properties": {"text": {"type": "string", "pattern": "^(a+)+$"}}}
    schema = await ada.save(definition={"inputs": inputs, "steps": [value_of("1")]})
    matching = await workflow_of(ada, value_of("input.text.matches('(a+)+$')"))

    begun = time.thread_time()
    refused = await ada.http.post(schema["webhook_url"], json={"text": text})
    compile_expression("input.text.matches('(a+)+$')").evaluate({"input": {"text": text}})
    spent = time.thread_time() - begun
    run = await ended(ada, await start(ada, matching, {"text": text}))

    assert (refused.status_code, refused.json()["errors"][0]["pointer"]) == (422, "/text")
    assert (run["status"], run["output"]) == ("succeeded", False)
    assert spent < 0.2


async def test_a_runaway_comes_to_an_end(
    ada: Caller, worker: WorkerProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Loops and caps: tests/unit/planning/test_cycles.py, test_loops.py; tests/integration/engine/test_sub_workflows.py, test_events.py."""
    del worker
    assert progress.MAX_VISITS == 1_000
    monkeypatch.setattr(progress, "MAX_VISITS", 20)
    endless = {**step("while", condition="true", max_iterations=20), "steps": [value_of("1")]}
    circle = {
        "nodes": [value_of("1") | {"id": "a"}, value_of("2") | {"id": "b"}],
        "edges": [{"source": "a", "target": "b"}, {"source": "b", "target": "a"}],
        "start_node": "a",
    }
    itself = await workflow_of(ada, step("run_workflow", workflow="itself"), name="itself")
    echoes = await workflow_of(ada, step("emit_event", event_type="x"), on_event={"type": "x"})

    loop = await run_of(ada, endless)
    turning = await ended(ada, await start(ada, await ada.save(definition=circle)))
    await ended(ada, await start(ada, itself))
    await ended(ada, await start(ada, echoes))
    many = {**endless, "config": {"condition": "true", "max_iterations": 1_001}}
    too_many = await ada.post("/workflows", {"name": "x", "definition": {"steps": [many]}})

    assert (loop["status"], loop["error"]["code"]) == ("failed", "loop_limit")
    assert (turning["status"], turning["error"]["code"]) == ("failed", "visit_limit")
    assert too_many.status_code == 422
    for workflow in (itself, echoes):
        await _last_of(ada, workflow, 11)


async def test_a_webhook_that_calls_itself_comes_to_an_end(ada: Caller, settings: Settings) -> None:
    """By a step, by the end of a run, and by events: what a step says of its own depth does not count."""
    scopes = ["runs:write", "events:write"]
    key = (await ada.post("/api-keys", {"name": "x", "scopes": scopes})).json()["key"]
    headers = {"X-Run-Depth": "0", "X-API-Key": key}
    post = {"method": "POST", "headers": headers, "url": "${{ input.payload.url }}"}
    call = step("http_request_node", **post, json_body="${{ input }}")
    tell = step("http_request_node", **post, json_body={"type": "x", "payload": "${{ input.payload }}"})  # fmt: skip
    by_step = await workflow_of(ada, call)
    by_event = await workflow_of(ada, tell, on_event={"type": "x"})
    by_hook = await workflow_of(ada, value_of("1"))
    opened = settings.model_copy(update={"egress_allow": ("127.0.0.1",)})
    async with _server(settings) as address, _working(opened):
        own = [it["webhook_url"].replace("http://test", address) for it in (by_step, by_hook)]
        await ada.call("PATCH", f"/workflows/{by_hook['id']}", json={"on_success": {"url": own[1]}})
        await start(ada, by_step, {"payload": {"url": own[0]}})
        await start(ada, by_hook)
        payload = {"url": f"{address}/api/v1/events"}
        await ada.post("/events", {"type": "x", "payload": payload})

        last = [await _last_of(ada, workflow, 11) for workflow in (by_step, by_event, by_hook)]
        told = await _first_hook_error(ada, last[2]["id"])

    assert last[0]["error"]["data"]["status"] == 409
    assert "too_deep" in last[0]["error"]["data"]["body"]
    (refused,) = last[1]["output"]["body"]["refused"]
    assert refused["code"] == "event_loop"
    assert told == "It answered 409."


async def _last_of(caller: Caller, workflow: dict[str, Any], count: int) -> dict[str, Any]:
    """Wait until so many runs of a workflow are over, and no more; returns the last."""
    deadline = asyncio.get_running_loop().time() + PATIENCE_SECONDS
    while True:
        found = await caller.get("/runs", params={"workflow_id": workflow["id"], "limit": 200})
        runs = found.json()["items"]
        over = all(run["status"] in FINAL_RUN_STATUSES for run in runs)
        if over and len(runs) >= count:
            break
        assert asyncio.get_running_loop().time() < deadline, len(runs)
        await asyncio.sleep(0.02)
    assert len(runs) == count
    last: dict[str, Any] = (await caller.get(f"/runs/{runs[0]['id']}")).json()
    return last


async def _first_hook_error(caller: Caller, run_id: str) -> str:
    deadline = asyncio.get_running_loop().time() + PATIENCE_SECONDS
    while True:
        calls = (await caller.get(f"/runs/{run_id}")).json()["hook_calls"]
        if calls and calls[0]["last_error"]:
            return str(calls[0]["last_error"])
        assert asyncio.get_running_loop().time() < deadline, calls
        await asyncio.sleep(0.02)


@asynccontextmanager
async def _working(settings: Settings) -> AsyncIterator[None]:
    process = WorkerProcess(settings)
    process.begin()
    try:
        yield
    finally:
        await process.end()


async def test_nobody_fills_the_queue(ada: Caller) -> None:
    """Every limit: tests/integration/api/test_policies.py and test_rate_limits.py."""
    saved = await ada.save()
    policy = {"max_queued_runs": 3}
    assert (await ada.call("PUT", "/admin/policies", json=policy)).status_code == 200

    queued = [await ada.http.post(saved["webhook_url"], json={}) for _ in range(5)]

    assert [answer.status_code for answer in queued] == [202, 202, 202, 429, 429]
    assert queued[-1].json()["code"] == "policy_violation"
