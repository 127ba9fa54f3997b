"""Live streams: what is told, in which order, and from where a client goes on."""

from collections.abc import AsyncIterator, Sequence
from contextlib import ExitStack
from typing import Any

import orjson
import pytest
from httpx import Response
from sqlmodel import Session, select

from app.api.container import Container
from app.core.clock import SystemClock
from app.core.errors import TooManyRequests
from app.core.statuses import RunStatus
from app.engine.delivery.process import WorkerProcess
from app.models import User
from app.schemas.run import RunSummary
from app.services.callers import caller_of
from app.services.stream_limit import MAX_STREAMS_PER_USER, OpenStreams
from app.services.streams import Change, OwnerFeed, RunFeed, place_of
from tests.integration.api.conftest import Caller, Sign

STEPS: list[dict[str, Any]] = [
    {"id": "say", "type": "log", "config": {"message": "Hello"}},
    {"id": "more", "type": "transform", "config": {"value": 1}},
]


@pytest.fixture
async def worker(container: Container) -> AsyncIterator[None]:
    process = WorkerProcess(container.settings)
    process.begin()
    yield
    await process.end()


def _events(answer: Response) -> list[tuple[str, dict[str, Any], str | None]]:
    assert answer.headers["content-type"].startswith("text/event-stream")
    found = []
    for block in answer.text.split("\n\n"):
        lines = [line.partition(": ") for line in block.splitlines()]
        fields = {name: value for name, _, value in lines}
        if "event" in fields:
            found.append((fields["event"], orjson.loads(fields["data"]), fields.get("id")))
    return found


def _ids(changes: Sequence[Change]) -> list[str]:
    return [change.data.id for change in changes if isinstance(change.data, RunSummary)]


async def _start(ada: Caller, *steps: dict[str, Any]) -> str:
    saved = await ada.save(definition={"steps": list(steps)})
    answer = await ada.post(f"/workflows/{saved['id']}/runs", {})
    run_id: str = answer.json()["run_id"]
    return run_id


@pytest.mark.usefixtures("worker")
async def test_a_run_is_told_to_its_end(ada: Caller) -> None:
    run_id = await _start(ada, *STEPS)

    events = _events(await ada.get(f"/runs/{run_id}/stream"))

    names = [name for name, _, _ in events]
    ended = [
        data["path"] for name, data, _ in events if name == "step" and data["status"] == "succeeded"
    ]
    assert names[-2:] == ["run", "end"]
    assert events[-1][1] == {"status": "succeeded"}
    assert ended == ["say", "more"]
    assert [data["message"] for name, data, _ in events if name == "log"] == ["Hello"]


@pytest.mark.usefixtures("worker")
async def test_a_client_goes_on_after_the_last_event_it_has_seen(ada: Caller) -> None:
    run_id = await _start(ada, *STEPS)
    events = _events(await ada.get(f"/runs/{run_id}/stream"))
    ids = [place for name, _, place in events if name == "step" and place]

    again = _events(
        await ada.get(f"/runs/{run_id}/stream", headers={"Last-Event-ID": ids[-1] or ""})
    )
    nonsense = _events(await ada.get(f"/runs/{run_id}/stream", headers={"Last-Event-ID": "x"}))

    assert [name for name, _, _ in again] == ["run", "end"]
    assert "step" in [name for name, _, _ in nonsense]


async def test_another_users_run_is_unknown(ada: Caller, sign_up: Sign) -> None:
    bob = await sign_up("bob@example.com")
    run_id = await _start(ada, *STEPS)

    answer = await bob.get(f"/runs/{run_id}/stream")

    assert answer.status_code == 404


async def test_without_a_token_nothing_is_told(ada: Caller) -> None:
    answer = await ada.http.get("/api/v1/runs/stream")

    assert answer.status_code == 401


async def test_all_runs_of_a_user_are_told_as_they_change(
    ada: Caller, container: Container
) -> None:
    first = await _start(ada, *STEPS)
    with Session(container.engine) as session:
        user = caller_of(session.exec(select(User)).one())
        feed = OwnerFeed(user, SystemClock())

        at_start, _ = feed.read(session)
        nothing, _ = feed.read(session)
    second = await _start(ada, *STEPS)
    process = WorkerProcess(container.settings)
    process.begin()
    await ada.get(f"/runs/{second}/stream")  # until it has ended
    await process.end()
    with Session(container.engine) as session:
        later, _ = feed.read(session)
        resumed, _ = OwnerFeed(user, SystemClock(), place_of(at_start[0].id)).read(session)
        fresh, _ = OwnerFeed(user, SystemClock()).read(session)

    assert _ids(at_start) == [first]
    assert nothing == []
    assert second in _ids(later)
    assert second in _ids(resumed)
    assert fresh == []


async def test_a_run_that_has_not_begun_is_not_over(ada: Caller, container: Container) -> None:
    run_id = await _start(ada, *STEPS)
    with Session(container.engine) as session:
        feed = RunFeed(caller_of(session.exec(select(User)).one()), run_id)

        changes, over = feed.read(session)
        nothing, _ = feed.read(session)

    assert not over
    assert [change.event for change in changes] == ["run"]
    assert isinstance(changes[0].data, RunSummary)
    assert changes[0].data.status is RunStatus.QUEUED
    assert nothing == []


def test_nobody_opens_more_streams_than_can_be_served() -> None:
    streams = OpenStreams()

    with ExitStack() as listening:
        for _ in range(MAX_STREAMS_PER_USER):
            streams.require_room("ada")
            listening.enter_context(streams.listen("ada"))
        with pytest.raises(TooManyRequests):
            streams.require_room("ada")
        streams.require_room("bob")

    streams.require_room("ada")
