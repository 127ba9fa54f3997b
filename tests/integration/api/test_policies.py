"""Policies over the API: who changes which, and what they refuse when workflows are saved and runs are started."""

from typing import Any

import pytest
from sqlmodel import Session

from app.api.container import Container
from app.core.ids import new_id
from app.core.permissions import TeamRole
from app.core.statuses import Role
from app.db.session import transaction
from app.engine.guards.policy_book import book_of
from app.engine.guards.rules import PolicyRules
from app.models import Policy as PolicyRow
from app.models import PolicyRevision
from app.services import policy_caps
from app.services.callers import Caller as Known
from app.services.policies import Policies
from tests.integration.api.conftest import LOG_STEP, Caller, Sign

CALL_STEP = {"type": "http_request_node", "config": {"url": "https://api.example.com/x"}}


async def _put(caller: Caller, path: str, rules: Any, **headers: str) -> Any:
    return await caller.call("PUT", path, json=rules, headers=headers)


async def _limit(caller: Caller, container: Container, path: str, rules: Any) -> None:
    """Save a policy, and have it count at once."""
    answer = await _put(caller, path, rules)
    assert answer.status_code == 200, answer.text
    with container.engine.connect() as connection:
        book_of(container.engine).refresh(connection)


async def test_the_platform_comes_with_a_cap_on_queued_runs(ada: Caller) -> None:
    answer = await ada.get("/admin/policies")

    assert answer.status_code == 200
    shown = answer.json()
    assert shown["policy"]["max_queued_runs"] == 100_000
    assert (shown["level"], shown["target"], shown["revision"]) == ("platform", None, 1)
    assert [item["level"] for item in shown["items"]] == ["platform"]


async def test_each_change_is_a_revision_that_tells_who_and_when(
    ada: Caller, container: Container
) -> None:
    tag = (await ada.get("/admin/policies")).headers["ETag"]

    answer = await _put(ada, "/admin/policies", {"max_concurrent_runs": 3}, **{"If-Match": tag})
    late = await _put(ada, "/admin/policies", {}, **{"If-Match": tag})
    again = await _put(ada, "/admin/policies", {"max_concurrent_runs": 3})

    assert (answer.status_code, late.status_code, again.status_code) == (200, 412, 200)
    shown = again.json()
    assert (shown["revision"], again.headers["ETag"]) == (2, '"2"')
    assert [(one["revision"], one["updated_by"]) for one in shown["history"]] == [
        (2, "ada@example.com"),
        (1, None),
    ]
    assert shown["history"][1]["policy"]["max_queued_runs"] == 100_000
    with Session(container.engine) as session:
        kept = session.get(PolicyRevision, ("platform", "0" * 8 + "-0000-0000-0000-" + "0" * 12, 2))
        assert kept is not None


@pytest.mark.usefixtures("ada")
async def test_members_neither_read_nor_change_the_platforms_policy(sign_up: Sign) -> None:
    bob = await sign_up("bob@example.com")

    answers = [await bob.get("/admin/policies"), await _put(bob, "/admin/policies", {})]

    assert [answer.status_code for answer in answers] == [403, 403]


async def test_a_rule_that_does_not_exist_is_refused_with_its_place(ada: Caller) -> None:
    answer = await _put(ada, "/admin/policies", {"hosts": {"alowed": []}})

    assert answer.status_code == 422
    assert [problem["pointer"] for problem in answer.json()["errors"]] == ["/hosts/alowed"]


@pytest.mark.parametrize("limit", [False, "5"])
async def test_a_limit_has_to_be_a_number(ada: Caller, limit: object) -> None:
    answer = await _put(ada, "/admin/policies", {"budgets": [{"name": "usd", "limit": limit}]})

    assert answer.status_code == 422
    assert [problem["pointer"] for problem in answer.json()["errors"]] == ["/budgets/0/limit"]


async def test_a_denied_node_type_and_host_are_refused_when_a_workflow_is_saved(
    ada: Caller,
) -> None:
    rules = {"node_types": {"denied": ["log"]}, "hosts": {"allowed": ["*.example.org"]}}
    await _put(ada, "/admin/policies", rules)
    loop = {"id": "each", "type": "for_each", "config": {"items": "[1]"}, "steps": [LOG_STEP]}
    definition = {"steps": [CALL_STEP, loop]}

    answer = await ada.post("/workflows", {"name": "x", "definition": definition})

    checked = await ada.post("/workflows/validate", {"definition": definition})

    assert answer.status_code == 422
    assert checked.json()["problems"] == answer.json()["errors"]
    problems = {problem["pointer"]: problem for problem in answer.json()["errors"]}
    assert set(problems) == {"/definition/steps/0/config/url", "/definition/steps/1/steps/0/type"}
    assert {problem["code"] for problem in problems.values()} == {"policy_violation"}
    for problem in problems.values():
        assert problem["detail"].startswith("The platform's policy")
        assert "administrators can change that" in problem["detail"]


async def test_the_host_of_a_hook_is_looked_at_as_well(ada: Caller) -> None:
    await _put(ada, "/admin/policies", {"hosts": {"denied": ["example.com"]}})

    answer = await ada.post(
        "/workflows",
        {
            "name": "x",
            "definition": {"steps": [LOG_STEP]},
            "on_failure": {"url": "https://example.com/x"},
        },
    )

    assert [problem["pointer"] for problem in answer.json()["errors"]] == ["/on_failure/0/url"]


async def test_a_workflows_own_policy_makes_it_stricter_and_never_looser(ada: Caller) -> None:
    await _put(ada, "/admin/policies", {"hosts": {"denied": ["api.example.com"]}})
    workflow = await ada.save()
    path = f"/workflows/{workflow['id']}"

    answer = await _put(ada, f"{path}/policy", {"hosts": {"allowed": ["api.example.com"]}})
    denied = await ada.call("PATCH", path, json={"definition": {"steps": [CALL_STEP]}})
    await _put(ada, f"{path}/policy", {"node_types": {"allowed": ["transform"]}})
    own = await ada.call("PATCH", path, json={"definition": {"steps": [{**LOG_STEP, "id": "x"}]}})

    assert answer.json()["effective"]["hosts"] == {
        "allowed": ["api.example.com"],
        "denied": ["api.example.com"],
    }
    assert denied.json()["errors"][0]["detail"].startswith("The platform's policy denies the host")
    (problem,) = own.json()["errors"]
    assert problem["detail"].startswith(f"The policy of the workflow {workflow['id']} does not")
    assert "whoever may edit the workflow can change that" in problem["detail"]


async def test_what_is_saved_before_a_policy_can_still_be_disabled(ada: Caller) -> None:
    workflow = await ada.save()
    await _put(ada, "/admin/policies", {"node_types": {"denied": ["log"]}})

    answer = await ada.call("PATCH", f"/workflows/{workflow['id']}", json={"enabled": False})

    assert answer.status_code == 200


async def test_too_many_runs_in_a_time_are_refused_until_the_first_is_past(
    ada: Caller, container: Container
) -> None:
    workflow = await ada.save()
    runs = f"/workflows/{workflow['id']}/runs"
    rules = {"max_runs": [{"count": 2, "window_seconds": 600}]}
    await _limit(ada, container, f"/workflows/{workflow['id']}/policy", rules)

    first = await ada.post(runs, headers={"Idempotency-Key": "one"})
    second = await ada.post(runs)
    third = await ada.post(runs)
    again = await ada.post(runs, headers={"Idempotency-Key": "one"})
    other = await ada.post(f"/workflows/{(await ada.save())['id']}/runs")

    assert [it.status_code for it in (first, second, third, again, other)] == [
        202,
        202,
        429,
        200,
        202,
    ]
    assert third.json()["code"] == "policy_violation"
    assert f"The policy of the workflow {workflow['id']} lets 2 runs" in third.json()["detail"]
    assert 590 <= int(third.headers["Retry-After"]) <= 600


async def test_a_full_queue_takes_no_more_runs(ada: Caller, container: Container) -> None:
    workflow = await ada.save()
    await _limit(ada, container, "/admin/policies", {"max_queued_runs": 3})

    answers = [await ada.post(f"/workflows/{workflow['id']}/runs") for _ in range(5)]

    assert [answer.status_code for answer in answers] == [202, 202, 202, 429, 429]
    assert "lets 3 runs wait in the queue" in answers[-1].json()["detail"]
    assert answers[-1].headers["Retry-After"] == "5"


async def test_an_input_larger_than_allowed_is_refused_at_every_door(
    ada: Caller, container: Container
) -> None:
    workflow = await ada.save()
    await _limit(ada, container, "/admin/policies", {"max_input_bytes": 20})

    by_hand = await ada.post(f"/workflows/{workflow['id']}/runs", {"input": {"text": "x" * 20}})
    hook = await ada.http.post(workflow["webhook_url"], json={"text": "x" * 20})
    small = await ada.http.post(workflow["webhook_url"], json={"n": 1})

    assert [it.status_code for it in (by_hand, hook, small)] == [413, 413, 202]
    assert by_hand.json()["code"] == "policy_violation"
    assert "20 bytes of JSON at most" in hook.json()["detail"]


async def test_replays_and_events_are_held_to_the_same_caps(
    ada: Caller, container: Container
) -> None:
    workflow = await ada.save(on_event={"type": "order.placed"})
    await ada.post(f"/workflows/{workflow['id']}/runs")
    run_id = (await ada.get("/runs")).json()["items"][0]["id"]
    rules = {"max_runs": [{"count": 1, "window_seconds": 600}]}
    await _limit(ada, container, "/admin/policies", rules)

    replay = await ada.post(f"/runs/{run_id}/replay", {"version": "same"})
    event = await ada.post("/events", {"type": "order.placed", "payload": {}})

    assert replay.status_code == 429
    assert event.status_code == 202
    (refusal,) = event.json()["refused"]
    assert (refusal["workflow_id"], refusal["code"]) == (workflow["id"], "policy_violation")
    assert refusal["detail"].startswith("The platform's policy lets 1 runs")


async def test_only_a_teams_owners_change_its_policy(ada: Caller, container: Container) -> None:
    team_id = new_id()
    me = (await ada.get("/me")).json()
    known = Known(me["id"], me["email"], Role.MEMBER, frozenset(), {team_id: TeamRole.OWNER})
    editor = Known(me["id"], me["email"], Role.MEMBER, frozenset(), {team_id: TeamRole.EDITOR})
    rules = (await ada.get("/admin/policies")).json()["policy"]

    with transaction(container.engine) as session:
        form = Policies(session, known, container.clock).put_team(
            team_id, PolicyRules.model_validate(rules), None
        )
        seen = Policies(session, editor, container.clock).of_team(team_id)
        with pytest.raises(Exception, match="Only the team's owners"):
            Policies(session, editor, container.clock).put_team(team_id, PolicyRules(), None)
    strange = await ada.get(f"/teams/{team_id}/policy")

    assert (form.level, form.target, form.revision) == ("team", team_id, 1)
    assert seen.policy == form.policy
    assert strange.status_code == 404


DAY = 86_400


def _budgets(count: int, begin: str = "b") -> dict[str, Any]:
    return {"budgets": [{"name": f"{begin}{n}", "limit": 1} for n in range(count)]}


@pytest.mark.parametrize(
    ("rules", "pointers"),
    [
        ({"max_runs": [{"count": 1, "window_seconds": 60}] * 6}, ["/max_runs"]),
        (
            {"max_runs": [{"count": 1, "window_seconds": 31 * DAY + 1}]},
            ["/max_runs/0/window_seconds"],
        ),
        (_budgets(11), ["/budgets"]),
        ({"max_runs": [{"count": 1, "window_seconds": 31 * DAY}] * 5, **_budgets(10)}, []),
    ],
)
async def test_below_the_platform_a_policy_may_ask_for_less_to_be_counted(
    ada: Caller, rules: Any, pointers: list[str]
) -> None:
    team = (await ada.post("/teams", {"name": "Finance"})).json()
    workflow = await ada.save()
    below = (f"/teams/{team['id']}/policy", f"/workflows/{workflow['id']}/policy")

    answers = [await _put(ada, path, rules) for path in below]
    platform = await _put(ada, "/admin/policies", rules)

    for answer in answers:
        assert answer.status_code == (422 if pointers else 200), answer.text
        assert [problem["pointer"] for problem in answer.json().get("errors", [])] == pointers
    assert platform.status_code == 200


async def test_the_policies_that_one_person_saves_have_so_many_budgets_and_free_them_when_deleted(
    ada: Caller, sign_up: Sign, monkeypatch: pytest.MonkeyPatch, container: Container
) -> None:
    monkeypatch.setattr(policy_caps, "MAX_BUDGETS_OF_A_PERSON", 6)
    bob = await sign_up("bob@example.com")
    team = (await ada.post("/teams", {"name": "Finance"})).json()
    workflows = [(await ada.save())["id"] for _ in range(3)]
    others = (await bob.save())["id"]

    async def put(caller: Caller, place: str, count: int) -> int:
        answer = await _put(caller, f"{place}/policy", {"max_input_bytes": 9, **_budgets(count)})
        return int(answer.status_code)

    of_team = await put(ada, f"/teams/{team['id']}", 2)
    saved = [await put(ada, f"/workflows/{id_}", 2) for id_ in workflows[:2]]
    full = [await put(ada, f"/workflows/{workflows[2]}", count) for count in (2, 1)]
    by_bob = await put(bob, f"/workflows/{others}", 2)
    for path in (f"/workflows/{workflows[0]}", f"/teams/{team['id']}"):
        assert (await ada.call("DELETE", path)).status_code == 204
    after = await put(ada, f"/workflows/{workflows[2]}", 2)

    assert [of_team, *saved, *full, by_bob, after] == [200, 200, 200, 422, 422, 200, 200]
    with Session(container.engine) as session:
        left = session.get_one(PolicyRow, ("workflow", workflows[0]))
        assert (left.rules, left.revision) == ({"max_input_bytes": 9}, 2)


async def test_a_policy_from_before_the_caps_is_held_to_them_as_it_is_read(
    ada: Caller, container: Container
) -> None:
    workflow = await ada.save()
    path = f"/workflows/{workflow['id']}/policy"
    await _put(ada, path, {"max_input_bytes": 9})
    old = {"max_runs": [{"count": 100, "window_seconds": 310 * DAY}], **_budgets(11)}
    with Session(container.engine) as session:
        for row in (
            session.get_one(PolicyRow, ("workflow", workflow["id"])),
            session.get_one(PolicyRevision, ("workflow", workflow["id"], 1)),
        ):
            row.rules = old
        session.commit()

    shown = (await ada.get(path)).json()
    with container.engine.connect() as connection:
        book = book_of(container.engine)
        book.refresh(connection)
        (known,) = (one.rules for one in book.latest.all if one.target == workflow["id"])

    windows, budgets = shown["policy"]["max_runs"], shown["policy"]["budgets"]
    assert windows == [{"count": 10, "window_seconds": 31 * DAY}]
    assert [one["limit"] for one in budgets] == [1] * 10 + [0]
    assert known == PolicyRules.model_validate(shown["policy"])
    assert shown["history"][0]["policy"]["max_runs"] == old["max_runs"]
    assert (await _put(ada, path, shown["policy"])).status_code == 422
