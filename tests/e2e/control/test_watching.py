"""Those who watch: live streams over a restart of the API, hooks at the end of a run, evidence that can be checked."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.e2e.control.desk import Desk
from tests.e2e.crash.harness.platform import Platform
from tests.e2e.crash.harness.programs import ROOT
from tests.e2e.crash.harness.sink import Sink

pytestmark = pytest.mark.crash
EPOCH = "SELECT epoch FROM runs WHERE id = :id"
HOLDER = "SELECT w.pid FROM runs r JOIN workers w ON w.id = r.worker_id WHERE r.id = :id"
MAX_LOST = 3


@dataclass(frozen=True)
class Told:
    """An event of a stream."""

    event: str
    data: Any
    id: str | None


@contextmanager
def stream(desk: Desk, path: str, after: str | None = None) -> Iterator[Iterator[Told]]:
    """Follow a stream; it ends when the server ends it."""
    headers = {} if after is None else {"Last-Event-ID": after}
    with desk.http.stream("GET", path, headers=headers) as answer:
        assert answer.status_code == 200
        yield events(answer.iter_lines())


def events(lines: Iterator[str]) -> Iterator[Told]:
    fields: dict[str, str] = {}
    for line in lines:
        name, _, value = line.partition(":")
        if line:
            fields[name] = value.strip()
        elif "event" in fields:
            yield Told(fields["event"], json.loads(fields["data"]), fields.get("id"))
            fields = {}
        else:
            fields = {}


def until_told(told: Iterator[Told], wanted: Callable[[Told], bool]) -> list[Told]:
    """Read a stream until an event comes; returns all up to it."""
    found: list[Told] = []
    for event in told:
        found.append(event)
        if wanted(event):
            return found
    raise AssertionError(f"The stream ended after {found}")


def ended_steps(told: list[Told]) -> list[str]:
    return [
        event.data["path"]
        for event in told
        if event.event == "step" and event.data["status"] == "succeeded"
    ]


def test_a_stream_goes_on_where_it_was_after_the_api_was_killed(
    platform: Platform, ada: Desk, sink: Sink
) -> None:
    steps = [platform.call_step("first"), platform.call_step("second", "/held")]
    run_id = ada.begin(*steps, platform.call_step("third"))
    path = f"/runs/{run_id}/stream"
    with stream(ada, path) as told:
        before = until_told(told, lambda event: event.data.get("path") == "second")
        platform.kill_api()
        with pytest.raises(httpx.TransportError):
            list(told)
    last = [event.id for event in before if event.id][-1]

    sink.open()
    platform.until_ended([run_id])
    platform.api()
    with stream(ada, path, last) as told:
        after = list(told)
    with stream(ada, path, [event.id for event in after if event.id][-1]) as told:
        nothing = list(told)

    assert ended_steps(before) == ["first"]
    assert ended_steps(after) == ["second", "third"]
    assert after[-1].event == "end"
    assert after[-1].data == {"status": "succeeded"}
    assert [event.data["status"] for event in after if event.event == "run"] == ["succeeded"]
    assert [event.event for event in nothing] == ["run", "end"]


def test_a_stream_ends_when_the_run_ends_and_is_for_those_who_may_read_it(
    platform: Platform, ada: Desk, eve: Desk, sink: Sink
) -> None:
    run_id = ada.begin(platform.call_step("call", "/held"))
    with stream(ada, f"/runs/{run_id}/stream") as told, stream(ada, "/runs/stream") as all_told:
        until_told(told, lambda event: event.data.get("path") == "call")
        ours = partial(is_of, run_id)
        until_told(all_told, ours)

        sink.open()
        rest = list(told)
        everything = until_told(
            all_told, lambda event: ours(event) and event.data["status"] == "succeeded"
        )

    assert [event.event for event in rest][-2:] == ["run", "end"]
    assert everything[-1].data["id"] == run_id
    assert eve.http.get(f"/runs/{run_id}/stream").status_code == 404


def is_of(run_id: str, event: Told) -> bool:
    return bool(event.event == "run" and event.data["id"] == run_id)


def _key_of_its_end(platform: Platform, run_id: str, event: str) -> str:
    (run,) = platform.database.rows(EPOCH, id=run_id)
    return f"{run_id}:{event}:{run['epoch']}"


def test_the_hooks_of_a_failure_are_called_when_three_workers_died(
    platform: Platform, ada: Desk, sink: Sink
) -> None:
    platform.registered(*(platform.worker(LEASE_SECONDS="1") for _ in range(MAX_LOST)))
    alarm = ada.save({"type": "log", "config": {"message": "${{ input.run.error.code }}"}})
    hooks = [{"url": sink.url("/alarm")}, {"workflow": alarm["id"]}]
    unwanted = {"url": sink.url("/unwanted")}
    call = platform.call_step("call", "/held")
    run_id = ada.start(ada.save(call, on_failure=hooks, on_success=unwanted))

    for number in range(1, MAX_LOST + 1):
        platform.until(lambda number=number: sink.effects[f"{run_id}:call"] == number)  # type: ignore[misc]
        (holder,) = platform.database.rows(HOLDER, id=run_id)
        platform.kill_worker(holder["pid"])
    run = ada.ended(run_id)
    told = _key_of_its_end(platform, run_id, "on_failure")
    platform.until(lambda: sink.effects[told] == 1)
    assert ada.all_ended(alarm, 1) == {"succeeded": 1}

    assert (run["status"], run["error"]["code"]) == ("failed", "worker_lost")
    report = json.loads(sink.bodies[-1])
    assert (report["event"], report["run"]["id"]) == ("on_failure", run_id)
    assert sink.effects == {f"{run_id}:call": MAX_LOST, told: 1}
    (child,) = ada.run(run_id)["children"]
    (line,) = ada.get(f"/runs/{child['run_id']}/logs")["items"]
    assert line["message"] == "worker_lost"


@pytest.mark.parametrize("outcome", ["timed_out", "succeeded", "cancelled"])
def test_a_hook_is_called_once_for_the_end_that_it_is_for(
    platform: Platform, ada: Desk, sink: Sink, outcome: str
) -> None:
    hooks = {name: {"url": sink.url("/hook")} for name in ("on_failure", "on_success")}
    limit = {"definition": {"timeout_seconds": 1}} if outcome == "timed_out" else {}
    run_id = ada.start(ada.save(platform.call_step("call", "/held"), **hooks, **limit))
    platform.until(lambda: sink.holding == 1)

    if outcome == "cancelled":
        assert ada.control(run_id, "cancel").status_code == 200
    if outcome == "succeeded":
        sink.open()
    run = ada.ended(run_id)

    events = {"timed_out": {"on_failure"}, "succeeded": {"on_success"}}
    wanted = {_key_of_its_end(platform, run_id, event) for event in events.get(outcome, set())}
    platform.until(lambda: sink.effects.keys() >= wanted)
    unsettled = "SELECT count(*) FROM runs WHERE id = :id AND hooks IS NOT NULL"
    platform.until(lambda: platform.database.count(unsettled, id=run_id) == 0)
    assert run["status"] == outcome
    assert sink.effects == dict.fromkeys({f"{run_id}:call"} | wanted, 1)


def test_a_bundle_is_exported_for_those_who_may_read_and_shows_what_was_changed(
    platform: Platform, ada: Desk, bob: Desk, eve: Desk, tmp_path: Path
) -> None:
    basis = {"authority": "Contract", "classification": "internal", "authorized_users": [bob.email]}
    call = platform.call_step("call")
    call["config"]["evidence"] = True
    workflow = ada.save(call, context={"required": ["legal_basis"]})
    refused = ada.post(f"/workflows/{workflow['id']}/runs", {"input": {}})
    run_id = ada.start(workflow, context={"legal_basis": basis})
    ada.until(run_id, "succeeded")
    address = f"/runs/{run_id}/evidence/bundle"

    exported, theirs = (desk.http.get(address) for desk in (ada, bob))
    good, bad = tmp_path / "good.json", tmp_path / "bad.json"
    good.write_bytes(exported.content)
    bad.write_bytes(exported.content.replace(b"Contract", b"Goodwill"))
    verdicts = [verify(file) for file in (good, bad)]

    assert (refused.status_code, refused.json()["errors"][0]["code"]) == (422, "missing_context")
    assert (exported.status_code, theirs.content) == (200, exported.content)
    assert exported.json()["evidence"][0]["step"] == "call"
    assert [verdict.returncode for verdict in verdicts] == [0, 1]
    assert verdicts[0].stdout.startswith("OK sha256 ")
    assert "CHANGED run" in verdicts[1].stderr
    paths = ("", "/logs", "/evidence", "/evidence/bundle", "/stream", "/steps/call/attempts")
    assert [eve.http.get(f"/runs/{run_id}{path}").status_code for path in paths] == [404] * 6
    assert [bob.http.get(f"/runs/{run_id}{path}").status_code for path in paths] == [200] * 6
    assert bob.control(run_id, "replay").status_code == 404
    assert bob.get("/runs")["items"] == []


def verify(file: Path) -> subprocess.CompletedProcess[str]:
    """Check a bundle with the documented command."""
    command = [sys.executable, "-m", "app.cli", "runs", "evidence", "verify", str(file)]
    return subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )
