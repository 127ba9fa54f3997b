"""Workflows: saved whole or not at all, versioned, guarded against lost updates."""

import asyncio
from typing import Any

import pytest

from tests.integration.api.conftest import DEFINITION, LOG_STEP, Caller

OTHER = {"steps": [{"type": "log", "config": {"message": "Good bye"}}]}


async def test_a_saved_workflow_comes_back_with_its_address(ada: Caller) -> None:
    answer = await ada.post("/workflows", {"name": " Bridge ", "definition": DEFINITION})

    saved = answer.json()
    assert answer.status_code == 201
    assert answer.headers["location"] == f"/api/v1/workflows/{saved['id']}"
    assert answer.headers["etag"] == '"1"'
    assert (saved["name"], saved["version"], saved["enabled"]) == ("Bridge", 1, True)
    assert saved["definition"] == DEFINITION
    assert saved["webhook_url"].startswith(f"http://test/api/v1/webhooks/{saved['id']}?token=")
    assert (await ada.get(f"/workflows/{saved['id']}")).json() == saved


async def test_an_open_webhook_has_an_address_without_token(ada: Caller) -> None:
    saved = await ada.save(webhook={"auth": "open"})

    assert saved["webhook_url"] == f"http://test/api/v1/webhooks/{saved['id']}"


async def test_every_problem_is_told_at_once_and_nothing_is_saved(ada: Caller) -> None:
    steps = [
        {"id": "a", "type": "logg", "config": {}},
        {"id": "a", "type": "log", "config": {"mesage": "Hello"}},
        {"id": "b", "type": "log", "config": {"message": "${{ steps.c.output }}"}},
        {"id": "c", "type": "log", "config": {"message": "${{ 1 + }}"}},
    ]
    body = {"name": "Bad", "definition": {"steps": steps}, "dedupe": {"key": "inpt.id"}}

    answer = await ada.post("/workflows", body)

    problem = answer.json()
    assert (answer.status_code, problem["code"]) == (422, "invalid_definition")
    assert {error["pointer"] for error in problem["errors"]} >= {
        "/definition/steps/0/type",
        "/definition/steps/1/id",
        "/definition/steps/1/config/mesage",
        "/definition/steps/2/config/message",
        "/definition/steps/3/config/message",
        "/dedupe/key",
    }
    assert (await ada.get("/workflows")).json()["items"] == []


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"definition": DEFINITION}, "/name"),
        ({"name": " ", "definition": DEFINITION}, "/name"),
        ({"name": "x" * 201, "definition": DEFINITION}, "/name"),
        ({"name": "x"}, "/definition"),
        ({"name": "x", "definition": [1]}, "/definition"),
        ({"name": "x", "definition": DEFINITION, "webhook": {"auth": "none"}}, "/webhook/auth"),
        ({"name": "x", "definition": DEFINITION, "extra/~": 1}, "/extra~1~0"),
        ({"name": "x", "definition": DEFINITION, "dedupe": {"key": ""}}, "/dedupe/key"),
        ([], ""),
    ],
)
async def test_a_body_of_another_form_is_refused_with_the_place(
    ada: Caller, body: Any, pointer: str
) -> None:
    answer = await ada.post("/workflows", body)

    assert answer.status_code == 422
    assert [error["pointer"] for error in answer.json()["errors"]] == [pointer]


async def test_a_definition_over_256_kib_is_refused(ada: Caller) -> None:
    steps = [{"type": "log", "config": {"message": "x" * 300_000}}]

    answer = await ada.post("/workflows", {"name": "Large", "definition": {"steps": steps}})

    assert answer.status_code == 422
    assert answer.json()["errors"][0]["code"] == "definition_too_large"


async def test_validate_says_what_is_wrong_without_saving(ada: Caller) -> None:
    bad = await ada.post("/workflows/validate", {"definition": {"steps": [{"type": "nope"}]}})
    good = await ada.post("/workflows/validate", {"definition": DEFINITION})

    assert (bad.status_code, bad.json()["valid"]) == (200, False)
    assert bad.json()["problems"][0]["pointer"] == "/definition/steps/0/type"
    assert good.json() == {"valid": True, "problems": []}
    assert (await ada.get("/workflows")).json()["items"] == []


async def test_a_changed_definition_is_the_next_version_and_an_equal_one_is_not(
    ada: Caller,
) -> None:
    saved = await ada.save()
    path = f"/workflows/{saved['id']}"

    same = await ada.call("PUT", path, json={"name": "Renamed", "definition": DEFINITION})
    changed = await ada.call("PUT", path, json={"name": "Renamed", "definition": OTHER})

    assert (same.json()["version"], same.headers["etag"]) == (1, '"2"')
    assert (changed.json()["version"], changed.headers["etag"]) == (2, '"3"')
    versions = (await ada.get(f"{path}/versions")).json()["items"]
    assert [version["version"] for version in versions] == [2, 1]
    assert (await ada.get(f"{path}/versions/1")).json()["definition"] == DEFINITION
    assert (await ada.get(f"{path}/versions/2")).json()["definition"] == OTHER
    assert (await ada.get(f"{path}/versions/3")).status_code == 404


async def test_put_keeps_optional_fields_that_are_left_out(ada: Caller) -> None:
    saved = await ada.save(enabled=False, webhook={"auth": "open"}, dedupe={"key": "input.id"})

    body = {"name": "Renamed", "definition": DEFINITION}
    changed = (await ada.call("PUT", f"/workflows/{saved['id']}", json=body)).json()

    assert changed["enabled"] is False
    assert changed["webhook"] == {"auth": "open"}
    assert changed["dedupe"] == {"key": "input.id"}


async def test_patch_changes_only_what_is_sent(ada: Caller) -> None:
    saved = await ada.save(description="Old", dedupe={"key": "input.id"})

    body = {"enabled": False, "dedupe": None}
    changed = (await ada.call("PATCH", f"/workflows/{saved['id']}", json=body)).json()

    expected = saved | {"enabled": False, "dedupe": None, "updated_at": changed["updated_at"]}
    assert changed == expected


async def test_an_older_etag_is_refused_and_nothing_changes(ada: Caller) -> None:
    saved = await ada.save()
    path = f"/workflows/{saved['id']}"
    await ada.call("PATCH", path, json={"name": "First"}, headers={"If-Match": '"1"'})

    late = await ada.call("PATCH", path, json={"name": "Late"}, headers={"If-Match": '"1"'})
    odd = await ada.call("PATCH", path, json={"name": "Odd"}, headers={"If-Match": "abc"})
    delete = await ada.call("DELETE", path, headers={"If-Match": '"1"'})

    assert [answer.status_code for answer in (late, odd, delete)] == [412] * 3
    assert late.json()["code"] == "precondition_failed"
    assert (await ada.get(path)).json()["name"] == "First"


async def test_of_concurrent_changes_none_is_lost_silently(ada: Caller) -> None:
    saved = await ada.save()
    path = f"/workflows/{saved['id']}"
    bodies = [
        {"name": "x", "definition": {"steps": [LOG_STEP | {"id": f"step_{n}"}]}} for n in range(8)
    ]

    answers = await asyncio.gather(*(ada.call("PUT", path, json=body) for body in bodies))

    won = [answer.json() for answer in answers if answer.status_code == 200]
    assert {answer.status_code for answer in answers} <= {200, 409}
    assert sorted(form["version"] for form in won) == list(range(2, len(won) + 2))
    for form in won:
        version = (await ada.get(f"{path}/versions/{form['version']}")).json()
        assert version["definition"] == form["definition"]


async def test_of_concurrent_changes_with_one_etag_exactly_one_wins(ada: Caller) -> None:
    saved = await ada.save()
    path = f"/workflows/{saved['id']}"

    answers = await asyncio.gather(
        *(
            ada.call("PATCH", path, json={"name": f"n{n}"}, headers={"If-Match": '"1"'})
            for n in range(8)
        )
    )

    assert sorted(answer.status_code for answer in answers) == [200, *[412] * 7]


async def test_a_deleted_workflow_is_gone(ada: Caller) -> None:
    saved = await ada.save()
    path = f"/workflows/{saved['id']}"

    answer = await ada.call("DELETE", path)

    assert (answer.status_code, answer.content) == (204, b"")
    assert (await ada.get(path)).status_code == 404
    assert (await ada.call("DELETE", path)).status_code == 404
    assert (await ada.get("/workflows")).json()["items"] == []


async def test_lists_are_read_page_by_page_newest_first(ada: Caller) -> None:
    names = [f"Workflow {n}" for n in range(5)]
    for name in names:
        await ada.save(name=name)

    seen: list[str] = []
    cursor: str | None = ""
    while cursor is not None:
        params = {"limit": 2} | ({"cursor": cursor} if cursor else {})
        page = (await ada.get("/workflows", params=params)).json()
        seen += [item["name"] for item in page["items"]]
        cursor = page["next_cursor"]

    assert seen == names[::-1]


@pytest.mark.parametrize("query", ["limit=0", "limit=201", "limit=x", "cursor=!", "cursor=abcd"])
async def test_a_broken_page_request_is_refused(ada: Caller, query: str) -> None:
    answer = await ada.get(f"/workflows?{query}")

    assert answer.status_code == 422
    assert query.partition("=")[0] in answer.text


async def test_a_rotated_token_replaces_the_old_one(ada: Caller) -> None:
    saved = await ada.save()

    rotated = await ada.post(f"/workflows/{saved['id']}/webhook/rotate")

    old = await ada.http.post(saved["webhook_url"], json={})
    new = await ada.http.post(rotated.json()["webhook_url"], json={})
    assert (old.status_code, new.status_code) == (401, 202)


async def test_a_change_that_changes_nothing_leaves_the_workflow_as_it_was(ada: Caller) -> None:
    saved = await ada.save(description="for tests", dedupe={"key": "input.id"})
    path = f"/workflows/{saved['id']}"
    before = await ada.get(path)
    same = {name: saved[name] for name in ("name", "definition", "description", "dedupe")}

    answers = [
        await ada.call("PATCH", path, json={}),
        await ada.call("PATCH", path, json={"enabled": True, "webhook": {"auth": "token"}}),
        await ada.call("PUT", path, json=same),
    ]

    assert {answer.headers["etag"] for answer in answers} == {before.headers["etag"]}
    assert [answer.json() for answer in answers] == [before.json()] * 3
