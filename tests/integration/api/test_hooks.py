"""Hooks are checked when a workflow is saved; a run shows whom it comes from and what it has started."""

from typing import Any

import pytest
from sqlmodel import Session, select

from app.api.container import Container
from app.core.clock import SystemClock
from app.core.statuses import TriggerKind
from app.engine.intake import Accepted, NewRun, accept
from app.models import HookCall, WorkflowVersion
from tests.integration.api.conftest import DEFINITION, Caller, Sign

URL = "https://example.com/runs"


async def test_hooks_are_kept_as_a_list(ada: Caller) -> None:
    other = await ada.save(name="Tell the team")

    saved = await ada.save(
        on_success={"workflow": "Tell the team"}, on_failure=[{"workflow": other["id"], "url": URL}]
    )

    assert saved["on_success"] == [{"workflow": "Tell the team", "url": None}]
    assert saved["on_failure"] == [{"workflow": other["id"], "url": URL}]
    assert (await ada.get(f"/workflows/{saved['id']}")).json() == saved


async def test_hooks_are_changed_and_taken_away_alone(ada: Caller) -> None:
    saved = await ada.save(on_success={"url": URL}, on_failure={"url": URL})

    answer = await ada.call("PATCH", f"/workflows/{saved['id']}", json={"on_success": None})

    changed = answer.json()
    assert (changed["on_success"], changed["version"]) == ([], 1)
    assert changed["on_failure"] == saved["on_failure"]


@pytest.mark.parametrize(
    ("hooks", "pointer", "code"),
    [
        ({"on_success": {"workflow": "nobody"}}, "/on_success/0/workflow", "unknown_workflow"),
        (
            {"on_failure": [{"url": URL}, {"workflow": "twice"}]},
            "/on_failure/1/workflow",
            "ambiguous_workflow",
        ),
        ({"on_failure": {"url": "ftp://example.com"}}, "/on_failure/0/url", "invalid_url"),
        ({"on_failure": {"url": "https://a:b@example.com"}}, "/on_failure/0/url", "invalid_url"),
        ({"on_failure": {"url": "https://"}}, "/on_failure/0/url", "invalid_url"),
        ({"on_failure": {"url": "http://[::1"}}, "/on_failure/0/url", "invalid_url"),
    ],
)
async def test_a_hook_that_can_never_be_called_is_refused(
    ada: Caller, hooks: dict[str, Any], pointer: str, code: str
) -> None:
    await ada.save(name="twice")
    await ada.save(name="twice")

    answer = await ada.post("/workflows", {"name": "Bad", "definition": DEFINITION, **hooks})

    errors = answer.json()["errors"]
    assert answer.status_code == 422
    assert [(error["pointer"], error["code"]) for error in errors] == [(pointer, code)]


@pytest.mark.parametrize("hooks", [{}, [{}], "nobody", [{"url": URL}] * 6, {"link": URL}])
async def test_what_is_no_hook_is_refused(ada: Caller, hooks: Any) -> None:
    body = {"name": "Bad", "definition": DEFINITION, "on_failure": hooks}

    answer = await ada.post("/workflows", body)

    assert answer.status_code == 422
    assert answer.json()["errors"][0]["pointer"].startswith("/on_failure")


async def test_the_workflow_of_somebody_else_is_unknown(ada: Caller, sign_up: Sign) -> None:
    bob = await sign_up("bob@example.com")
    theirs = await ada.save()
    body = {"name": "B", "definition": DEFINITION, "on_success": {"workflow": theirs["id"]}}

    answer = await bob.post("/workflows", body)

    assert answer.json()["errors"][0]["code"] == "unknown_workflow"


async def test_a_run_shows_what_it_comes_from_and_what_it_has_started(
    ada: Caller, container: Container
) -> None:
    workflow_id = (await ada.save())["id"]
    parent = (await ada.post(f"/workflows/{workflow_id}/runs", {})).json()["id"]
    with Session(container.engine, expire_on_commit=False) as session:
        version = session.exec(select(WorkflowVersion)).one()
        session.add(HookCall(run_id=parent, url=URL, tries=2, last_error="It answered 500."))
        session.commit()

    def below(trigger: TriggerKind, path: str | None) -> NewRun:
        return NewRun(
            version.created_by, workflow_id, version.id, 1, trigger, {},
            depth=1, parent_run_id=parent, parent_path=path,
        )  # fmt: skip

    runs = [below(TriggerKind.RUN, "each[0].ship"), below(TriggerKind.HOOK, None)]
    with container.engine.begin() as connection:
        accepted = accept(connection, runs, SystemClock().now())
    child, hook = (one.run_id for one in accepted if isinstance(one, Accepted))

    shown = (await ada.get(f"/runs/{parent}")).json()
    of_child = (await ada.get(f"/runs/{child}")).json()

    assert shown["parent"] is None
    assert {(run["run_id"], run["step"], run["status"]) for run in shown["children"]} == {
        (child, "each[0].ship", "queued"),
        (hook, None, "queued"),
    }
    assert shown["children"][0]["workflow_id"] == workflow_id
    (made,) = shown["hook_calls"]
    assert (made["url"], made["tries"], made["last_error"]) == (URL, 2, "It answered 500.")
    assert of_child["parent"] == {"run_id": parent, "step": "each[0].ship"}
    assert (await ada.get(f"/runs/{hook}")).json()["parent"] == {"run_id": parent, "step": None}


async def test_a_reader_of_a_run_is_not_told_the_addresses_of_its_hooks(
    ada: Caller, sign_up: Sign, container: Container
) -> None:
    bob = await sign_up("bob@example.com")
    basis = {"authority": "GDPR", "classification": "secret", "authorized_users": [bob.email]}
    path = f"/workflows/{(await ada.save())['id']}/runs"
    run_id = (await ada.post(path, {"context": {"legal_basis": basis}})).json()["id"]
    with Session(container.engine) as session:
        session.add(HookCall(run_id=run_id, url=f"{URL}?token=secret", tries=1))
        session.commit()

    of_bob = (await bob.get(f"/runs/{run_id}")).json()

    assert of_bob["hook_calls"] == []
    assert len((await ada.get(f"/runs/{run_id}")).json()["hook_calls"]) == 1
