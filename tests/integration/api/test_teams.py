"""Teams, what they own, what is shared, and what goes over to another owner."""

import asyncio
from typing import Any

import pytest
from httpx import Response
from sqlmodel import Session, select

from app.api.container import Container
from app.core.permissions import TeamRole
from app.models import Run, Schedule
from app.services import sharing, teams
from tests.integration.api.conftest import DEFINITION, Caller, Sign
from tests.integration.api.tenants import make_workflow, user_ids


@pytest.fixture
async def bob(sign_up: Sign) -> Caller:
    return await sign_up("bob@example.com")


@pytest.fixture
async def cat(sign_up: Sign) -> Caller:
    return await sign_up("cat@example.com")


async def _team(owner: Caller, name: str = "Finance", **members: str) -> str:
    """Return the id of a new team; `members` by the beginnings of their addresses."""
    answer = await owner.post("/teams", {"name": name})
    assert answer.status_code == 201, answer.text
    team_id: str = answer.json()["id"]
    for member, role in members.items():
        assert (await _set(owner, team_id, f"{member}@example.com", role)).status_code == 200
    return team_id


async def _set(owner: Caller, team_id: str, email: str, role: str) -> Response:
    return await owner.call("PUT", f"/teams/{team_id}/members/{email}", json={"role": role})


async def _share(owner: Caller, workflow: dict[str, Any], role: str, **grantee: str) -> Response:
    body = {"role": role, **grantee}
    return await owner.call("PUT", f"/workflows/{workflow['id']}/shares", json=body)


def _told(answer: Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["detail"]


async def test_whoever_makes_a_team_owns_it(ada: Caller) -> None:
    made = (await ada.post("/teams", {"name": "  Finance "})).json()

    assert (made["name"], made["role"]) == ("Finance", "owner")
    assert (await ada.get(f"/teams/{made['id']}")).json() == made
    assert (await ada.get("/teams")).json()["items"] == [made]
    members = (await ada.get(f"/teams/{made['id']}/members")).json()["items"]
    assert members == [{"email": "ada@example.com", "role": "owner"}]


@pytest.mark.parametrize(
    "name", ["", "-x", "a/b", "x" * 101, "018f3c2e-7a10-7c3e-9d52-3b1f7a8e4c11"]
)
async def test_a_name_that_cannot_be_written_in_a_definition_is_refused(
    ada: Caller, name: str
) -> None:
    assert (await ada.post("/teams", {"name": name})).status_code == 422


async def test_a_name_is_never_another_teams_whatever_its_case(ada: Caller, bob: Caller) -> None:
    team_id = await _team(ada, "Köln")
    await ada.call("PATCH", f"/teams/{team_id}", json={"name": "Cologne"})
    deleted = await _team(ada, "Bonn")
    await ada.call("DELETE", f"/teams/{deleted}")

    for name in ("KÖLN", "cologne", "bonn"):
        status, detail = _told(await bob.post("/teams", {"name": name}))
        assert (status, "is, or once was" in detail) == (409, True)
    back = await ada.call("PATCH", f"/teams/{team_id}", json={"name": "KÖLN"})
    assert back.json()["name"] == "KÖLN"


async def test_who_deleted_a_team_may_use_its_names_again_and_nobody_else(
    ada: Caller, bob: Caller
) -> None:
    team_id = await _team(ada, "Köln", bob="owner")
    await ada.call("PATCH", f"/teams/{team_id}", json={"name": "Cologne"})
    await bob.call("DELETE", f"/teams/{team_id}")

    by_creator = await ada.post("/teams", {"name": "Cologne"})
    at_once = await asyncio.gather(*(bob.post("/teams", {"name": "COLOGNE"}) for _ in range(4)))
    sales = await _team(bob, "Sales")
    renamed = await bob.call("PATCH", f"/teams/{sales}", json={"name": "Köln"})

    assert by_creator.status_code == 409
    assert sorted(answer.status_code for answer in at_once) == [201, 409, 409, 409]
    assert (renamed.status_code, renamed.json()["name"]) == (200, "Köln")


async def test_a_team_keeps_an_owner(ada: Caller, bob: Caller) -> None:
    team_id = await _team(ada, bob="editor")

    demoted = await _set(ada, team_id, ada.email, "editor")
    left = await ada.call("DELETE", f"/teams/{team_id}/members/{ada.email}")
    assert [_told(demoted)[0], _told(left)] == [409, (409, teams.LAST_OWNER)]
    await _set(ada, team_id, bob.email, "owner")

    assert (await ada.call("DELETE", f"/teams/{team_id}/members/{ada.email}")).status_code == 204
    assert (await ada.get(f"/teams/{team_id}")).status_code == 404
    assert (await bob.get(f"/teams/{team_id}")).json()["role"] == "owner"


async def test_members_may_leave_and_only_owners_say_who_is_in(
    ada: Caller, bob: Caller, cat: Caller
) -> None:
    team_id = await _team(ada, bob="editor", cat="viewer")

    refused = await _set(bob, team_id, cat.email, "owner")
    thrown_out = await bob.call("DELETE", f"/teams/{team_id}/members/{cat.email}")
    left = await cat.call("DELETE", f"/teams/{team_id}/members/CAT@example.com")

    assert _told(refused)[0] == thrown_out.status_code == 403
    assert "an owner of the team Finance can give you another one" in _told(refused)[1]
    assert left.status_code == 204
    assert (await cat.get(f"/teams/{team_id}/members")).status_code == 404
    again = await ada.call("DELETE", f"/teams/{team_id}/members/{cat.email}")
    assert _told(again) == (404, "cat@example.com is not in this team.")


async def test_whoever_has_no_account_cannot_be_let_in(ada: Caller) -> None:
    team_id = await _team(ada)

    assert _told(await _set(ada, team_id, "nobody@example.com", "viewer"))[0] == 404


async def test_nobody_is_in_more_teams_than_lists_can_walk_along(
    ada: Caller, bob: Caller, cat: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(teams, "MAX_TEAMS", 1)
    first, second = await _team(ada, "One"), await _team(bob, "Two")
    await _set(ada, first, cat.email, "viewer")

    by_stranger = await _set(bob, second, cat.email, "viewer")
    own = await cat.post("/teams", {"name": "Three"})
    another = await cat.post("/teams", {"name": "Four"})
    await cat.call("DELETE", f"/teams/{first}/members/{cat.email}")
    after = await _set(bob, second, cat.email, "viewer")

    told = [by_stranger, own, another, after]
    assert [answer.status_code for answer in told] == [409, 201, 409, 200]
    assert "they can leave one of them" in by_stranger.json()["detail"]


async def test_no_team_has_more_members_than_it_may(
    ada: Caller, bob: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(teams, "MAX_MEMBERS", 1)
    team_id = await _team(ada)

    assert (await _set(ada, team_id, bob.email, "viewer")).status_code == 409


async def test_who_was_let_in_may_leave_whatever_their_platform_role(
    ada: Caller, bob: Caller, cat: Caller
) -> None:
    team_id = await _team(ada, bob="owner", cat="viewer")
    users = {one["email"]: one["id"] for one in (await ada.get("/admin/users")).json()["items"]}
    body = {"name": "reads", "scopes": ["teams:read"]}
    key = (await cat.post("/api-keys", body)).json()["key"]
    for person in (bob, cat):
        path = f"/admin/users/{users[person.email]}"
        assert (await ada.call("PATCH", path, json={"role": "viewer"})).status_code == 200
    at = f"/teams/{team_id}/members"

    by_key = await cat.http.delete(f"/api/v1{at}/{cat.email}", headers={"X-API-Key": key})
    another = await bob.call("DELETE", f"{at}/{cat.email}")
    left = [await who.call("DELETE", f"{at}/{who.email}") for who in (bob, cat)]

    assert (by_key.status_code, another.status_code) == (403, 403)
    assert "teams:write" in by_key.json()["detail"]
    assert [answer.status_code for answer in left] == [204, 204]
    members = (await ada.get(at)).json()["items"]
    assert [member["email"] for member in members] == [ada.email]


async def test_a_team_owns_workflows(ada: Caller, bob: Caller, cat: Caller) -> None:
    team_id = await _team(ada, bob="runner", cat="viewer")
    saved = await ada.save(team="finance")

    seen = [(await who.get(f"/workflows/{saved['id']}")).json() for who in (ada, bob, cat)]

    assert saved["owner"] == {"kind": "team", "id": team_id, "name": "Finance"}
    assert [one["role"] for one in seen] == ["owner", "runner", "viewer"]
    assert [one["webhook_url"] is None for one in seen] == [False, True, True]
    started = await bob.post(f"/workflows/{saved['id']}/runs")
    run = (await cat.get(f"/runs/{started.json()['run_id']}")).json()
    assert run["started_by"] == bob.email
    status, detail = _told(await cat.post(f"/workflows/{saved['id']}/runs"))
    assert (status, "needs the role `runner`, and yours is `viewer`" in detail) == (403, True)


async def test_editors_and_owners_save_for_a_team(ada: Caller, bob: Caller, cat: Caller) -> None:
    team_id = await _team(ada, bob="editor", cat="runner")
    draft = {"name": "Test", "definition": DEFINITION, "team": team_id}

    answers = [await who.post("/workflows", draft) for who in (bob, cat)]

    assert [answer.status_code for answer in answers] == [201, 403]
    deleted = await bob.call("DELETE", f"/workflows/{answers[0].json()['id']}")
    assert _told(deleted)[0] == 403
    for unknown in ("sales", "018f3c2e-7a10-7c3e-9d52-3b1f7a8e4c11"):
        assert _told(await bob.post("/workflows", draft | {"team": unknown}))[0] == 404


async def test_a_team_that_owns_something_is_not_deleted(ada: Caller, bob: Caller) -> None:
    team_id = await _team(ada, bob="viewer")
    saved = await ada.save(team=team_id)
    secret = {"name": "slack", "kind": "bearer", "data": {"token": "a secret token"}}
    at_home = {"allowed_hosts": ["example.com"], "team": team_id}
    kept = await ada.post("/credentials", secret | at_home)

    with_both = await ada.call("DELETE", f"/teams/{team_id}")
    await ada.call("DELETE", f"/workflows/{saved['id']}")
    with_credential = await ada.call("DELETE", f"/teams/{team_id}")
    await ada.call("DELETE", f"/credentials/{kept.json()['id']}")
    after = await ada.call("DELETE", f"/teams/{team_id}")

    answers = (with_both, with_credential, after)
    assert [answer.status_code for answer in answers] == [409, 409, 204]
    assert (await bob.get("/teams")).json()["items"] == []


async def test_a_schedule_of_a_team_starts_runs_in_the_name_of_whoever_saved_it(
    ada: Caller, bob: Caller, container: Container
) -> None:
    team_id = await _team(ada, bob="editor")
    saved = await ada.save(team=team_id)
    at = f"/workflows/{saved['id']}/schedules"

    made = (await ada.post(at, {"cron": "@daily"})).json()
    await bob.call("PATCH", f"{at}/{made['id']}", json={"cron": "@hourly"})

    with Session(container.engine) as session:
        kept = session.get_one(Schedule, made["id"])
    assert (kept.owner_id, kept.saved_by) == (team_id, user_ids(container.engine)[bob.email])


async def test_events_of_a_team_start_its_workflows(ada: Caller, bob: Caller, cat: Caller) -> None:
    team_id = await _team(ada, bob="runner", cat="viewer")
    await ada.save(team=team_id, on_event={"type": "paid"})
    await bob.save(on_event={"type": "paid"})

    as_teams = await bob.post("/events", {"type": "paid", "team": "FINANCE"})
    as_own = await bob.post("/events", {"type": "paid"})

    assert [len(answer.json()["started"]) for answer in (as_teams, as_own)] == [1, 1]
    run = (await cat.get(f"/runs/{as_teams.json()['started'][0]}")).json()
    assert run["started_by"] == bob.email
    kept = (await cat.get("/events", params={"team": team_id})).json()["items"]
    assert [event["type"] for event in kept] == ["paid"]
    assert (await cat.post("/events", {"type": "paid", "team": team_id})).status_code == 403
    assert (await bob.post("/events", {"type": "paid", "team": "sales"})).status_code == 404


async def test_a_workflow_is_shared_with_a_person(ada: Caller, bob: Caller) -> None:
    saved = await ada.save()
    at = f"/workflows/{saved['id']}"

    shared = await _share(ada, saved, "viewer", user="Bob@Example.com")
    seen = (await bob.get(at)).json()
    refused = _told(await bob.call("PATCH", at, json={"enabled": False}))
    await _share(ada, saved, "editor", user=bob.email)
    changed = await bob.call("PATCH", at, json={"name": "Bob's"})

    assert shared.json()["grantee"]["name"] == bob.email
    assert (seen["role"], seen["webhook_url"], seen["owner"]["name"]) == ("viewer", None, ada.email)
    assert refused[0] == 403
    assert "yours is `viewer`: ada@example.com can give you another one." in refused[1]
    assert changed.status_code == 200
    assert (await bob.get(f"{at}/shares")).json()["items"][0]["role"] == "editor"


async def test_what_was_shared_is_taken_back(ada: Caller, bob: Caller) -> None:
    saved = await ada.save()
    at = f"/workflows/{saved['id']}/shares"
    await _share(ada, saved, "editor", user=bob.email)

    taken_back = await ada.call("DELETE", at, params={"user": bob.email})

    assert taken_back.status_code == 204
    assert (await bob.get(f"/workflows/{saved['id']}")).status_code == 404
    assert (await ada.call("DELETE", at, params={"user": bob.email})).status_code == 404
    assert (await ada.call("DELETE", at)).status_code == 422


async def test_a_workflow_is_shared_with_everybody_in_a_team(
    ada: Caller, bob: Caller, cat: Caller
) -> None:
    team_id = await _team(bob, cat="viewer")
    saved = await ada.save()

    await _share(ada, saved, "runner", team="finance")
    started = await cat.post(f"/workflows/{saved['id']}/runs")
    await cat.call("DELETE", f"/teams/{team_id}/members/{cat.email}")

    assert started.status_code == 202
    assert (await cat.get(f"/runs/{started.json()['run_id']}")).status_code == 404
    assert (await bob.get(f"/runs/{started.json()['run_id']}")).status_code == 200


async def test_shares_have_bounds(
    ada: Caller, bob: Caller, cat: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two = await ada.save(), await ada.save()
    await _share(ada, one, "viewer", user=bob.email)

    own = await _share(ada, one, "viewer", user=ada.email)
    monkeypatch.setattr(sharing, "MAX_GRANTED", 1)
    granted = await _share(ada, two, "viewer", user=bob.email)
    monkeypatch.setattr(sharing, "MAX_SHARES", 1)
    shared = await _share(ada, one, "viewer", user=cat.email)

    assert [answer.status_code for answer in (own, granted, shared)] == [409, 409, 409]
    assert (await _share(ada, one, "owner", user=cat.email)).status_code == 422
    assert (await _share(ada, one, "viewer", user="x@example.com")).status_code == 404
    assert (await _share(ada, one, "viewer", team="nobody's")).status_code == 404


async def test_a_shared_workflow_runs_as_its_owners(
    ada: Caller, bob: Caller, container: Container
) -> None:
    saved = await ada.save()
    await _share(ada, saved, "editor", user=bob.email)

    schedule = await bob.post(f"/workflows/{saved['id']}/schedules", {"cron": "@daily"})
    started = await bob.post(f"/workflows/{saved['id']}/runs")

    ada_id = user_ids(container.engine)[ada.email]
    with Session(container.engine) as session:
        run = session.get_one(Run, started.json()["run_id"])
        assert session.get_one(Schedule, schedule.json()["id"]).owner_id == ada_id
    assert (run.owner_id, run.started_by) == (ada_id, bob.email)


async def test_a_workflow_goes_over_to_a_team_and_runs_on(
    ada: Caller, bob: Caller, container: Container
) -> None:
    team_id = await _team(ada, bob="viewer")
    saved = await ada.save()
    at = f"/workflows/{saved['id']}"
    await ada.post(f"{at}/schedules", {"cron": "@daily"})
    before = (await ada.post(f"{at}/runs")).json()["run_id"]

    given = (await ada.post(f"{at}/transfer", {"team": "Finance"})).json()

    owner = {"kind": "team", "id": team_id, "name": "Finance"}
    assert given == {"id": saved["id"], "owner": owner, "enabled": True}
    history = (await bob.get(f"{at}/runs")).json()["items"]
    assert [run["id"] for run in history] == [before]
    assert (await bob.get(f"/runs/{before}")).status_code == 200
    with Session(container.engine) as session:
        assert session.exec(select(Schedule)).one().owner_id == team_id
    after = (await ada.post(f"{at}/runs")).json()["run_id"]
    assert [run["id"] for run in (await bob.get("/runs")).json()["items"]] == [after]


async def test_another_person_finds_it_disabled_and_shared_with_nobody(
    ada: Caller, bob: Caller, cat: Caller
) -> None:
    saved = await ada.save()
    at = f"/workflows/{saved['id']}"
    await _share(ada, saved, "editor", user=cat.email)

    given = (await ada.post(f"{at}/transfer", {"owner": bob.email})).json()

    assert (given["owner"]["name"], given["enabled"]) == (bob.email, False)
    assert [(await who.get(at)).status_code for who in (ada, cat)] == [404, 404]
    mine = (await bob.get(at)).json()
    assert (mine["role"], mine["enabled"]) == ("owner", False)
    assert (await bob.post(f"{at}/transfer", {"owner": bob.email})).json()["enabled"] is False


async def test_the_former_owner_keeps_the_runs_that_were_theirs(ada: Caller, bob: Caller) -> None:
    saved = await ada.save()
    at = f"/workflows/{saved['id']}"
    run_id = (await ada.post(f"{at}/runs")).json()["run_id"]

    await ada.post(f"{at}/transfer", {"owner": bob.email})

    for path in ("/runs", f"/runs?workflow_id={saved['id']}"):
        assert [run["id"] for run in (await ada.get(path)).json()["items"]] == [run_id]
    assert (await ada.post(f"/runs/{run_id}/replay")).status_code == 404
    assert (await bob.get(f"/runs/{run_id}")).status_code == 200


async def test_what_would_not_hold_as_the_new_owners_is_not_given(ada: Caller, bob: Caller) -> None:
    await _team(bob, ada="runner")
    called = await ada.save(name="Tell them")
    saved = await ada.save(on_success=[{"workflow": called["name"]}])
    at = f"/workflows/{saved['id']}/transfer"

    status, detail = _told(await ada.post(at, {"owner": bob.email}))

    assert (status, "/on_success/0/workflow" in detail) == (409, True)
    assert (await ada.post(at, {"team": "finance"})).status_code == 403
    assert (await ada.post(at, {"owner": "x@example.com"})).status_code == 404
    assert (await ada.post(at, {})).status_code == 422


async def test_the_webhook_takes_members_who_may_run_it(
    ada: Caller, bob: Caller, cat: Caller
) -> None:
    await _team(ada, bob="runner", cat="viewer")
    saved = await ada.save(team="finance")
    at = f"/webhooks/{saved['id']}"

    assert [(await who.post(at, {})).status_code for who in (bob, cat)] == [202, 403]
    token = saved["webhook_url"].partition("?token=")[2]
    assert (await cat.post(f"{at}?token={token}", {})).status_code == 202


async def test_runs_of_a_workflow_that_one_may_only_see_are_not_touched_in_bulk(
    ada: Caller, bob: Caller, container: Container
) -> None:
    ids = user_ids(container.engine)
    shared = {ids[bob.email]: TeamRole.VIEWER}
    owned = make_workflow(container.engine, ids[ada.email], shared)

    answer = await bob.post("/runs/retry", {"workflow_id": owned.workflow_id})

    assert _told(answer)[0] == 403


async def test_whoever_a_workflow_is_shared_with_may_give_that_back(
    ada: Caller, bob: Caller, cat: Caller
) -> None:
    saved = await ada.save()
    for somebody in (bob, cat):
        await _share(ada, saved, "viewer", user=somebody.email)
    at = f"/workflows/{saved['id']}/shares"

    anothers = await bob.call("DELETE", at, params={"user": cat.email})
    own = await bob.call("DELETE", at, params={"user": bob.email})

    assert (anothers.status_code, own.status_code) == (403, 204)
    assert (await bob.get(f"/workflows/{saved['id']}")).status_code == 404
