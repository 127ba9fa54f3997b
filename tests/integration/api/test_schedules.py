"""Schedules as their owner saves, reads and changes them."""

import asyncio
from datetime import datetime
from typing import Any

import pytest

from app.api.container import Container
from app.services import schedules
from tests.integration.api.conftest import Caller

NINE = {"cron": "0  9 * * MON-FRI", "timezone": "Europe/Berlin"}


async def _path(ada: Caller, **fields: Any) -> str:
    return f"/workflows/{(await ada.save(**fields))['id']}/schedules"


async def test_a_schedule_tells_its_next_five_times(ada: Caller, container: Container) -> None:
    path = await _path(ada)

    answer = await ada.post(path, NINE)

    saved = answer.json()
    times = [datetime.fromisoformat(time) for time in saved["next_fire_times"]]
    assert (answer.status_code, answer.headers["location"]) == (201, f"/api/v1{path}/{saved['id']}")
    assert (saved["cron"], saved["timezone"]) == ("0 9 * * mon-fri", "Europe/Berlin")
    assert (saved["misfire"], saved["enabled"], saved["input"]) == ("skip", True, None)
    assert len(set(times)) == 5
    assert times == sorted(times)
    assert times[0] > container.clock.now()
    assert saved["next_fire_at"] == saved["next_fire_times"][0]
    assert [saved[name] for name in ("last_fire_at", "last_run_id", "last_error")] == [None] * 3


async def test_schedules_are_listed_read_and_deleted(ada: Caller) -> None:
    path = await _path(ada)
    first, second = [(await ada.post(path, {"cron": "@daily"})).json() for _ in range(2)]

    page = (await ada.get(path, params={"limit": 1})).json()
    rest = (await ada.get(path, params={"cursor": page["next_cursor"]})).json()
    one = (await ada.get(f"{path}/{first['id']}")).json()
    gone = await ada.call("DELETE", f"{path}/{first['id']}")

    assert [item["id"] for item in page["items"]] == [second["id"]]
    assert [item["id"] for item in rest["items"]] == [first["id"]]
    assert one == first
    assert first["timezone"] == "UTC"
    assert gone.status_code == 204
    assert (await ada.get(f"{path}/{first['id']}")).status_code == 404


async def test_a_disabled_schedule_has_no_next_time_until_it_is_enabled(ada: Caller) -> None:
    path = await _path(ada)
    saved = (await ada.post(path, NINE | {"enabled": False})).json()
    address = f"{path}/{saved['id']}"

    enabled = (await ada.call("PATCH", address, json={"enabled": True})).json()
    disabled = (await ada.call("PATCH", address, json={"enabled": False})).json()

    assert (saved["next_fire_at"], saved["next_fire_times"]) == (None, [])
    assert (enabled["enabled"], len(enabled["next_fire_times"])) == (True, 5)
    assert (disabled["next_fire_at"], disabled["next_fire_times"]) == (None, [])


async def test_patch_changes_what_is_sent_and_only_a_new_time_moves_the_next_one(
    ada: Caller,
) -> None:
    path = await _path(ada)
    saved = (await ada.post(path, NINE | {"input": {"a": 1}})).json()
    address = f"{path}/{saved['id']}"

    same = (await ada.call("PATCH", address, json={"cron": saved["cron"]})).json()
    other = (await ada.call("PATCH", address, json={"input": None, "misfire": "once"})).json()
    moved = (await ada.call("PATCH", address, json={"cron": "30 23 * * *"})).json()

    assert same == saved
    assert (other["input"], other["misfire"]) == (None, "once")
    assert other["next_fire_at"] == saved["next_fire_at"]
    assert (moved["cron"], moved["timezone"]) == ("30 23 * * *", "Europe/Berlin")
    assert moved["next_fire_at"] != saved["next_fire_at"]


@pytest.mark.parametrize(
    ("fields", "pointers"),
    [
        ({"cron": "61 * * * *"}, ["/cron"]),
        ({"cron": "0 0 31 2 *"}, ["/cron"]),
        ({"cron": "often", "timezone": "Europe/Berln"}, ["/timezone", "/cron"]),
        ({"timezone": "../../etc/passwd"}, ["/timezone"]),
        ({"input": {"id": "x"}}, ["/input/id"]),
        ({"input": None}, ["/input"]),
        ({"cron": None}, ["/cron"]),
        ({"misfire": "maybe"}, ["/misfire"]),
        ({"every": "day"}, ["/every"]),
    ],
)
async def test_what_does_not_hold_is_refused_with_every_problem(
    ada: Caller, fields: dict[str, Any], pointers: list[str]
) -> None:
    inputs = {"type": "object", "required": ["id"], "properties": {"id": {"type": "integer"}}}
    step = {"type": "log", "config": {"message": "x"}}
    path = await _path(ada, definition={"inputs": inputs, "steps": [step]})
    good = {"cron": "@daily", "input": {"id": 1}}
    saved = (await ada.post(path, good)).json()

    created = await ada.post(path, good | fields)
    changed = await ada.call("PATCH", f"{path}/{saved['id']}", json=fields)

    for answer in (created, changed):
        assert answer.status_code == 422, answer.text
        assert [problem["pointer"] for problem in answer.json()["errors"]] == pointers
    assert (await ada.get(path)).json()["items"] == [saved]


async def test_a_context_that_no_schedule_can_give_is_refused_unless_the_workflow_supplies_it(
    ada: Caller,
) -> None:
    rules = {"required": ["assumptions", "data_scope"], "defaults": {"data_scope": "EU"}}
    workflow = await ada.save(context=rules)
    path = f"/workflows/{workflow['id']}/schedules"

    refused = await ada.post(path, NINE)
    off = (await ada.post(path, NINE | {"enabled": False})).json()
    not_yet = await ada.call("PATCH", f"{path}/{off['id']}", json={"enabled": True})
    rules["defaults"] = {"data_scope": "EU", "assumptions": ["all is well"]}
    await ada.call("PATCH", f"/workflows/{workflow['id']}", json={"context": rules})
    enabled = await ada.call("PATCH", f"{path}/{off['id']}", json={"enabled": True})

    for answer in (refused, not_yet):
        (problem,) = answer.json()["errors"]
        assert (answer.status_code, problem["pointer"]) == (422, "/context/assumptions")
        assert "context.defaults" in problem["detail"]
    assert (enabled.status_code, enabled.json()["enabled"]) == (200, True)


async def test_a_schedule_that_has_come_to_fit_no_longer_can_be_switched_off(ada: Caller) -> None:
    workflow = await ada.save()
    path = f"/workflows/{workflow['id']}/schedules"
    saved = (await ada.post(path, NINE)).json()
    await ada.call(
        "PATCH", f"/workflows/{workflow['id']}", json={"context": {"required": ["assumptions"]}}
    )

    answer = await ada.call("PATCH", f"{path}/{saved['id']}", json={"enabled": False})

    assert (answer.status_code, answer.json()["enabled"]) == (200, False)


async def test_a_workflow_has_so_many_schedules_and_no_more(
    ada: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(schedules, "MAX_SCHEDULES", 2)
    path, other = await _path(ada), await _path(ada)
    first, _ = [(await ada.post(path, NINE)).json() for _ in range(2)]

    full = await ada.post(path, NINE)
    elsewhere = await ada.post(other, NINE)
    await ada.call("DELETE", f"{path}/{first['id']}")
    after = await ada.post(path, NINE)

    assert (full.status_code, full.json()["code"]) == (409, "conflict")
    assert "2 schedules" in full.json()["detail"]
    assert (elsewhere.status_code, after.status_code) == (201, 201)


async def test_a_schedule_belongs_to_its_workflow(ada: Caller) -> None:
    saved = (await ada.post(await _path(ada), NINE)).json()

    other = await _path(ada)

    assert (await ada.get(f"{other}/{saved['id']}")).status_code == 404


async def test_a_schedule_sent_again_with_its_key_is_made_once(ada: Caller) -> None:
    path, other = await _path(ada), await _path(ada)
    key = {"Idempotency-Key": "nightly"}

    answers = await asyncio.gather(*(ada.post(path, NINE, headers=key) for _ in range(8)))
    elsewhere = await ada.post(other, NINE, headers=key)
    without = await ada.post(path, NINE)
    changed = await ada.post(path, {"cron": "@daily"}, headers=key)

    assert sorted(answer.status_code for answer in answers) == [200] * 7 + [201]
    assert len({answer.headers["location"] for answer in answers}) == 1
    (id_,) = {answer.json()["id"] for answer in answers}
    assert [answer.status_code for answer in (elsewhere, without, changed)] == [201, 201, 200]
    assert (changed.json()["id"], changed.json()["cron"]) == (id_, "0 9 * * mon-fri")
    assert len((await ada.get(path)).json()["items"]) == 2


async def test_a_key_is_free_again_once_its_schedule_is_deleted(ada: Caller) -> None:
    path, key = await _path(ada), {"Idempotency-Key": "nightly"}
    first = (await ada.post(path, NINE, headers=key)).json()
    await ada.call("DELETE", f"{path}/{first['id']}")

    again = await ada.post(path, NINE, headers=key)

    assert again.status_code == 201
    assert again.json()["id"] != first["id"]


@pytest.mark.parametrize("key", ["", "k" * 201])
async def test_a_key_that_cannot_be_kept_is_refused(ada: Caller, key: str) -> None:
    answer = await ada.post(await _path(ada), NINE, headers={"Idempotency-Key": key})

    assert answer.status_code == 422
    assert answer.json()["errors"][0]["code"] == "invalid_idempotency_key"
