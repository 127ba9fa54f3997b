"""Credentials in runs: given to the attempt that names them, sent where they may go, and found nowhere afterwards."""

from pathlib import Path
from typing import Any

import pytest
from sqlmodel import Session, select

from app.core.clock import SystemClock
from app.core.config import Settings
from app.core.ids import new_id
from app.core.statuses import RunStatus
from app.models import AuditEntry, Credential, Policy
from tests.integration.engine.vault import all_that_is_stored, echoing, keep, slips
from tests.integration.engine.world import World
from tests.unit.egress.loopback import reply, serve

CANARY = "canary+4c7a19/secret=value"
NODES = Path(__file__).parent / "secret_nodes"

pytestmark = pytest.mark.usefixtures("worker")


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return settings.model_copy(update={"plugins_dir": NODES})


def call(url: str, **config: Any) -> dict[str, Any]:
    return {"id": "call", "type": "http_request_node", "config": {"url": url, **config}}


@pytest.mark.parametrize(
    ("kind", "data", "header"),
    [
        ("bearer", {"token": CANARY}, f"Authorization: Bearer {CANARY}"),
        ("api_key_header", {"header": "X-Key", "value": CANARY}, f"X-Key: {CANARY}"),
        (
            "basic",
            {"username": "ada", "password": CANARY},
            "Authorization: Basic YWRhOmNhbmFyeSs0YzdhMTkvc2VjcmV0PXZhbHVl",
        ),
        (
            "hmac",
            {"secret": "canary secret", "header": "X-Hub-Signature-256"},
            "X-Hub-Signature-256: sha256=5d6e480b9b28d97f9224464aaf0b5914f4bac47f632838f14d0110afba8a14a0",
        ),
    ],
)
async def test_a_request_carries_what_its_credential_holds(
    world: World, kind: str, data: dict[str, object], header: str
) -> None:
    keep(world, "crm", kind, data)
    async with echoing() as echo:
        workflow = world.workflow(call(echo.url, method="POST", text="hi", credential="crm"))

        run = await world.start(workflow)

    assert run.status is RunStatus.SUCCEEDED, run.error
    (sent,) = echo.requests
    assert header in sent.decode().splitlines()
    assert slips(world, CANARY, "canary secret") == []


async def test_a_secret_in_the_config_goes_out_and_is_not_seen_again(world: World) -> None:
    keep(world, "crm", "generic", {"key": CANARY, "more": "more of " + CANARY})
    config: dict[str, Any] = {
        "method": "POST",
        "query": {"key": "${{ secrets.crm.key }}"},
        "headers": {"X-Key": "k ${{ secrets.crm.key }}", "X-Loud": "${{ upper(secrets.crm.key) }}"},
        "json_body": {"deep": ["${{ secrets.crm }}"], "plain": "hello"},
        "evidence": True,
    }
    passed_on = {"type": "log", "config": {"message": "${{ to_json(steps.call.output) }}", "data": "${{ steps.call.output }}"}}  # fmt: skip
    config_of_child: dict[str, Any] = {"workflow": "", "input": "${{ steps.call.output }}"}
    child = {"type": "run_workflow", "config": config_of_child}
    waits = {"type": "wait_for_event", "config": {"event_type": "x", "filter": "steps.call.output == 1", "timeout_seconds": 0.1, "timeout_action": "port"}}  # fmt: skip
    config_of_child["workflow"] = world.workflow({"type": "transform", "config": {"value": "${{ input }}"}})  # fmt: skip
    async with echoing() as echo:
        run = await world.start(world.workflow(call(echo.url, **config), passed_on, child, waits))

    assert run.status is RunStatus.SUCCEEDED, run.error
    (sent,) = echo.requests
    assert f"X-Key: k {CANARY}" in sent.decode()
    assert f"X-Loud: {CANARY.upper()}" in sent.decode()
    assert slips(world, CANARY) == []
    kept = world.attempts(run.id)[0]
    assert kept.input["json_body"] == {"deep": ["***"], "plain": "hello"}
    assert kept.input["headers"] == {"X-Key": "***", "X-Loud": "***"}
    assert "hello" in kept.output["body"]["plain"]


HOWS = ("return", "raise", "fail", "retry", "suspend", "emit", "hang")


@pytest.mark.parametrize("how", HOWS)
async def test_whatever_a_node_lets_slip_is_stored_without_it(
    world: World, how: str, capfd: pytest.CaptureFixture[str]
) -> None:
    await _let_slip(world, "careless", how, capfd)


@pytest.mark.parametrize("database_url", ["postgres"], indirect=True)
@pytest.mark.parametrize("how", ["return", "raise", "suspend", "hang"])
async def test_nor_does_a_process_of_its_own_leave_a_trace(
    world: World, how: str, capfd: pytest.CaptureFixture[str]
) -> None:
    await _let_slip(world, "careless_alone", how, capfd)


async def _let_slip(world: World, node: str, how: str, capfd: pytest.CaptureFixture[str]) -> None:
    keep(world, "crm", "generic", {"key": CANARY})
    step = {
        "id": "slip",
        "type": node,
        "config": {
            "how": how,
            "told": "x ${{ secrets.crm.key }}",
            "credential": "crm",
            "sees": "input.x",
        },
        "timeout_seconds": 0.5 if how == "hang" else 30,
        "retry": {"max_attempts": 2, "initial_delay_seconds": 0},
    }
    message = "${{ to_json(steps) }}"
    after = {"type": "log", "depends_on": ["slip.always"], "config": {"message": message}}

    run = await world.start(world.workflow(step, after), {"x": 1})

    attempts = [one for one in world.attempts(run.id) if one.path == "slip"]
    assert len(attempts) == (1 if how in {"return", "fail", "emit"} else 2)
    assert slips(world, CANARY) == []
    said = "".join(capfd.readouterr())
    assert CANARY not in said
    assert ("node_raised" in said) == (how == "raise")


async def test_only_the_step_that_names_it_gets_it(world: World) -> None:
    keep(world, "crm", "generic", {"key": CANARY})
    steps = [
        {"id": "hides", "type": "careless", "config": {"told": "crm"}},
        {"id": "sees", "type": "careless", "config": {"sees": "keys(steps)"}},
    ]

    run = await world.start(world.workflow(*steps))

    assert run.output["held"] == {}
    assert run.output["seen"] == ["hides"]


async def test_the_credential_is_that_of_the_runs_owner(world: World) -> None:
    keep(world, "crm", "bearer", {"token": CANARY}, owner_id=new_id())
    async with echoing() as echo:
        run = await world.start(world.workflow(call(echo.url, credential="crm")))

    assert run.error is not None
    assert run.error["code"] == "unknown_credential"
    assert echo.requests == []


@pytest.mark.parametrize(
    "config", [{"credential": "crm"}, {"headers": {"X-Key": "${{ secrets.crm }}"}}]
)
async def test_it_goes_to_no_other_host(world: World, config: dict[str, Any]) -> None:
    keep(world, "crm", "bearer", {"token": CANARY}, hosts=["api.example.com", "*.0.0.1"])
    async with echoing() as echo:
        run = await world.start(world.workflow(call(echo.url, **config)))

    assert run.error is not None
    assert "allowed_hosts" in run.error["message"]
    assert echo.requests == []


async def test_nor_by_a_node_of_somebody_elses_or_in_its_process(world: World) -> None:
    keep(world, "crm", "bearer", {"token": CANARY}, hosts=["api.example.com"])
    async with echoing() as echo:
        for node in ("careless", "careless_alone"):
            config = {"told": "${{ secrets.crm }}", "url": echo.url}
            run = await world.start(world.workflow({"type": node, "config": config}))
            named = {"credential": "crm", "host": "127.0.0.1"}
            other = await world.start(world.workflow({"type": node, "config": named}))

            assert run.error is not None
            assert other.error is not None
            assert "may not be sent to 127.0.0.1" in run.error["message"]
            assert other.error["code"] == "host_not_allowed"
    assert echo.requests == []


async def test_a_redirect_to_another_host_takes_no_credential_along(world: World) -> None:
    keep(world, "crm", "bearer", {"token": CANARY}, hosts=["127.0.0.1"])
    async with echoing() as echo:
        elsewhere = echo.url.replace("127.0.0.1", "localhost")
        async with serve(reply(307, headers=f"Location: {elsewhere}\r\n")) as server:
            named = await world.start(world.workflow(call(server.url(), credential="crm")))
            config = {"method": "POST", "text": "${{ secrets.crm }}", "follow_redirects": True}
            written = await world.start(world.workflow(call(server.url(), **config)))

    assert named.status is RunStatus.SUCCEEDED, named.error
    assert CANARY in server.requests[0].decode()
    assert written.error is not None
    assert "may not be sent to localhost" in written.error["message"]
    assert len(echo.requests) == 1
    assert CANARY not in echo.requests[0].decode()


async def test_a_header_that_the_credential_sets_is_not_set_twice(world: World) -> None:
    keep(world, "crm", "bearer", {"token": CANARY})
    config = {"credential": "crm", "headers": {"authorization": "mine"}}

    run = await world.start(world.workflow(call("http://127.0.0.1:1/", **config)))

    assert run.error is not None
    assert run.error["code"] == "invalid_request"


async def test_a_change_is_noticed_within_seconds(
    world: World,
) -> None:
    credential_id = keep(world, "crm", "bearer", {"token": CANARY})
    async with echoing() as echo:
        workflow = world.workflow(call(echo.url, credential="crm"))
        await world.start(workflow)
        with Session(world.engine) as session:
            session.delete(session.get_one(Credential, credential_id))
            session.commit()
        keep(world, "crm", "bearer", {"token": "the newer token"})

        async def newer() -> bool:
            await world.start(workflow)
            return b"the newer token" in echo.requests[-1]

        while not await newer():
            assert len(echo.requests) < 1_000


async def test_one_that_cannot_be_opened_says_so(world: World) -> None:
    credential_id = keep(world, "crm", "bearer", {"token": CANARY})
    with Session(world.engine) as session:
        session.get_one(Credential, credential_id).owner_id = world.owner_id
        session.get_one(Credential, credential_id).key_id = "gone"
        session.commit()

    run = await world.start(world.workflow(call("http://127.0.0.1:1/", credential="crm")))

    assert run.error is not None
    assert run.error["code"] == "credential_unreadable"


async def test_each_attempt_leaves_an_entry_in_the_audit_log(world: World) -> None:
    crm = keep(world, "crm", "bearer", {"token": CANARY})
    slack = keep(world, "slack", "generic", {"key": CANARY}, hosts=())
    async with echoing(status=500) as echo:
        config = {"credential": "crm"}
        step = {
            **call(echo.url, **config),
            "retry": {"max_attempts": 2, "initial_delay_seconds": 0},
        }
        run = await world.start(world.workflow(step))
        told = {"told": "${{ secrets.slack.key }}"}
        other = await world.start(world.workflow({"id": "say", "type": "careless", "config": told}))

    with Session(world.engine) as session:
        entries = session.exec(select(AuditEntry).order_by("seq")).all()
        assert session.get_one(Credential, crm).last_used_at is not None
    shown = [
        (
            e.action,
            e.target_id,
            e.owner_id,
            e.run_id,
            e.details["step"],
            e.details["attempt"],
            e.details["host"],
        )
        for e in entries
    ]
    used = "credential.used"
    assert shown == [
        (used, crm, world.owner_id, run.id, "call", 1, "127.0.0.1"),
        (used, crm, world.owner_id, run.id, "call", 2, "127.0.0.1"),
        (used, slack, world.owner_id, other.id, "say", 1, None),
    ]


async def test_the_search_finds_what_is_not_hidden(world: World) -> None:
    async with echoing() as echo:
        await world.start(world.workflow(call(echo.url, method="POST", text="not a secret")))

    assert len(slips(world, "not a secret")) >= 2


@pytest.mark.parametrize("rules", [{}, {"hosts": {"denied": ["*.example.org"]}}])
async def test_a_refused_host_that_a_secret_is_part_of_is_not_told(
    world: World, rules: dict[str, Any]
) -> None:
    secret = "Qx7Zp-Canary-Secret"
    keep(world, "crm", "bearer", {"token": secret}, hosts=["api.example.com"])
    workflow = world.workflow(call("https://${{ secrets.crm }}.example.org/"))
    with Session(world.engine) as session:
        now = SystemClock().now()
        session.add(Policy(level="workflow", target_id=workflow, rules=rules, updated_at=now))
        session.commit()

    run = await world.start(workflow)

    assert run.status is RunStatus.FAILED
    assert [said for said in all_that_is_stored(world) if secret[:5].lower() in said.lower()] == []
