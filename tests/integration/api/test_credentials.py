"""The vault as people see it: what goes in never comes out, and is its owner's alone."""

import logging
from typing import Any

import orjson
import pytest
from sqlalchemy import text
from sqlmodel import Session, select

from app.api.container import Container
from app.core.errors import InvalidInput, NotFound, PermissionDenied
from app.core.ids import new_id
from app.core.permissions import TeamRole
from app.core.security.encryption import CannotDecrypt, KeyRing, Sealed
from app.db.session import transaction
from app.engine.credentials.kinds import KINDS
from app.engine.credentials.store import bound_to
from app.models import Credential, User
from app.schemas.credential import CredentialChanges, CredentialDraft, Kind
from app.services import credentials
from app.services.callers import Caller as Person
from app.services.callers import caller_of
from app.services.credentials import Credentials
from app.services.key_rotation import ENCRYPTED, keys_in_use, rotate
from tests.integration.api.conftest import Caller, Sign

CANARY = "canary-4c7a19-secret"
TOKEN = {"token": CANARY}
HOSTS = ["api.example.com"]
CRM: dict[str, Any] = {"name": "crm", "kind": "bearer", "data": TOKEN, "allowed_hosts": HOSTS}
SAMPLES: dict[str, dict[str, Any]] = {
    "bearer": TOKEN,
    "basic": {"username": "ada", "password": CANARY},
    "api_key_header": {"header": "X-API-Key", "value": CANARY},
    "hmac": {"secret": CANARY, "header": "X-Hub-Signature-256", "algorithm": "sha256"},
    "oauth2_client_credentials": {
        "token_url": "https://api.example.com/token",
        "client_id": "ada",
        "client_secret": CANARY,
        "scope": "read",
        "audience": "crm",
    },
    "smtp": {"host": "mail", "port": 25, "username": "a", "password": CANARY, "tls": False},
    "database": {"url": f"postgresql://ada:{CANARY}@db/crm"},
    "generic": {"anything": CANARY, "more": "more " + CANARY},
}


def _calls(credential: str, **config: Any) -> dict[str, Any]:
    config = {"url": "https://api.example.com/", "credential": credential} | config
    return {"steps": [{"id": "call", "type": "http_request_node", "config": config}]}


async def _keep(caller: Caller, **fields: Any) -> dict[str, Any]:
    answer = await caller.post("/credentials", CRM | fields)
    assert answer.status_code == 201, answer.text
    saved: dict[str, Any] = answer.json()
    return saved


def _of(container: Container, session: Session, person: Person) -> Credentials:
    return Credentials(session, person, container.catalogue, container.keys, container.clock)


@pytest.mark.parametrize("kind", SAMPLES)
async def test_each_kind_is_kept_and_never_shown(ada: Caller, kind: str) -> None:
    saved = await _keep(ada, kind=kind, data=SAMPLES[kind])

    address = f"/credentials/{saved['id']}"
    answers = [await ada.get(address), await ada.get("/credentials")]
    answers.append(await ada.call("PUT", address, json={"name": "crm 2", "kind": kind}))
    answers.append(await ada.call("DELETE", address))
    assert [answer.status_code for answer in answers] == [200, 200, 200, 204]
    assert saved["kind"] == kind
    assert not [answer for answer in answers if CANARY in answer.text]
    assert CANARY not in str(saved)


def test_every_kind_has_a_sample() -> None:
    assert [*SAMPLES] == [*KINDS] == [*Kind.__args__]  # type: ignore[attr-defined]  # a Literal's values


async def test_a_credential_tells_all_but_what_it_holds(ada: Caller) -> None:
    saved = await _keep(
        ada, allowed_hosts=["API.Example.com.", "*.example.org", "127.0.0.1", "::1"]
    )

    assert saved["allowed_hosts"] == ["api.example.com", "*.example.org", "127.0.0.1", "::1"]
    assert saved.keys() == {
        "id", "name", "kind", "allowed_hosts", "description", "team", "created_by", "created_at", "updated_at",
        "last_used_at", "revision",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("fields", "pointer"),
    [
        ({"data": {}}, "/data/token"),
        ({"data": {"token": "x"}}, "/data/token"),
        ({"data": {"token": f"{CANARY}\r\nX: y"}}, "/data/token"),
        ({"data": {"token": 7, "other": CANARY}}, "/data"),
        ({"data": {CANARY: "token"}}, "/data"),
        ({"data": {"token": [CANARY]}}, "/data/token"),
        ({"data": CANARY}, "/data"),
        ({"kind": "generic", "data": {"a": 7}}, "/data/a"),
        ({"kind": "generic", "data": {}}, "/data"),
        ({"kind": "basic", "data": {"username": "a:b", "password": CANARY}}, "/data/username"),
        ({"kind": "database", "data": {"url": "postgresql://a:b@c/d"}}, "/data/url"),
        ({"kind": "database", "data": {"url": CANARY}}, "/data/url"),
        ({"kind": "smtp", "data": {**SAMPLES["smtp"], "port": CANARY}}, "/data/port"),
        ({"kind": "unknown"}, "/kind"),
        ({"name": "a/b"}, "/name"),
        ({"allowed_hosts": []}, "/allowed_hosts"),
        ({"allowed_hosts": ["*.com"]}, "/allowed_hosts/0"),
        ({"allowed_hosts": ["https://api.example.com"]}, "/allowed_hosts/0"),
        ({"allowed_hosts": ["api.example.com:443"]}, "/allowed_hosts/0"),
        ({"allowed_hosts": ["*.1.2.3"]}, "/allowed_hosts/0"),
        (
            {"kind": "oauth2_client_credentials", "allowed_hosts": ["b.test"],
             "data": SAMPLES["oauth2_client_credentials"]},
            "/allowed_hosts",
        ),
        (
            {"kind": "oauth2_client_credentials",
             "data": {**SAMPLES["oauth2_client_credentials"], "token_url": f"ftp://{CANARY}"}},
            "/data/token_url",
        ),
    ],
)  # fmt: skip
async def test_what_does_not_fit_is_refused_without_being_repeated(
    ada: Caller, caplog: pytest.LogCaptureFixture, fields: dict[str, Any], pointer: str
) -> None:
    caplog.set_level(logging.DEBUG)

    answer = await ada.post("/credentials", CRM | fields)

    assert answer.status_code == 422
    assert pointer in [problem["pointer"] for problem in answer.json()["errors"]]
    assert CANARY not in answer.text
    assert CANARY not in caplog.text


async def test_a_name_is_given_once(ada: Caller, sign_up: Sign) -> None:
    await _keep(ada)
    other = await _keep(ada, name="other")

    taken = [
        await ada.post("/credentials", CRM),
        await ada.call(
            "PUT", f"/credentials/{other['id']}", json={"name": "crm", "kind": "bearer"}
        ),
    ]

    assert [answer.status_code for answer in taken] == [409, 409]
    await _keep(await sign_up("bob@example.com"))


async def test_whoever_has_as_many_as_they_may_still_renames_one(
    ada: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    saved = await _keep(ada)
    monkeypatch.setattr(credentials, "MAX_CREDENTIALS", 1)

    renamed = await ada.call(
        "PUT", f"/credentials/{saved['id']}", json={"name": "sales", "kind": "bearer"}
    )
    another = await ada.post("/credentials", CRM)

    assert (renamed.status_code, another.status_code) == (200, 409), renamed.text


async def test_bob_finds_neither_adas_id_nor_her_name(ada: Caller, sign_up: Sign) -> None:
    saved, bob = await _keep(ada), await sign_up("bob@example.com")
    address = f"/credentials/{saved['id']}"

    statuses = [
        (await bob.get(address)).status_code,
        (await bob.call("PUT", address, json=CRM)).status_code,
        (await bob.call("DELETE", f"{address}?force=true")).status_code,
    ]
    listed = (await bob.get("/credentials")).json()["items"]
    named = await bob.post("/workflows", {"name": "x", "definition": _calls("crm")})
    by_id = await bob.post("/workflows", {"name": "x", "definition": _calls(saved["id"])})

    assert (statuses, listed) == ([404, 404, 404], [])
    for answer in (named, by_id):
        assert answer.status_code == 422
        (problem,) = answer.json()["errors"]
        assert (problem["pointer"], problem["code"]) == (
            "/definition/steps/0/config/credential",
            "unknown_credential",
        )


async def test_more_hosts_need_what_it_holds_again(ada: Caller) -> None:
    saved = await _keep(ada, allowed_hosts=["a.test", "b.test"])
    address = f"/credentials/{saved['id']}"
    wider = {"name": "crm", "kind": "bearer", "allowed_hosts": ["a.test", "evil.test"]}

    refused = await ada.call("PUT", address, json=wider)
    other_kind = await ada.call("PUT", address, json={"name": "crm", "kind": "generic"})
    none = await ada.call("PUT", address, json={**wider, "allowed_hosts": []})
    fewer = await ada.call("PUT", address, json={**wider, "allowed_hosts": ["a.test"]})
    given = await ada.call("PUT", address, json={**wider, "data": TOKEN})

    assert [a.status_code for a in (refused, other_kind, none, fewer, given)] == [422, 422, 422, 200, 200]  # fmt: skip
    assert refused.json()["errors"][0]["pointer"] == "/data"
    assert given.json()["allowed_hosts"] == ["a.test", "evil.test"]
    assert given.json()["revision"] == 3


async def test_an_older_revision_is_not_written_over(ada: Caller) -> None:
    saved = await _keep(ada)
    address, change = f"/credentials/{saved['id']}", {"name": "crm", "kind": "bearer"}

    first = await ada.call("PUT", address, json=change, headers={"If-Match": '"1"'})
    second = await ada.call("PUT", address, json=change, headers={"If-Match": '"1"'})

    assert (first.status_code, first.headers["ETag"], second.status_code) == (200, '"2"', 412)


async def test_a_credential_in_use_is_deleted_by_force_alone(ada: Caller) -> None:
    saved = await _keep(ada)
    address = f"/credentials/{saved['id']}"
    workflow = await ada.save(name="Orders", definition=_calls("crm"))
    await ada.save(name="Says crm", definition={"steps": [{"type": "log", "config": {"message": "crm"}}]})  # fmt: skip

    refused = await ada.call("DELETE", address)
    renamed = await ada.call("PUT", address, json={"name": "new", "kind": "bearer"})
    await ada.call("PATCH", f"/workflows/{workflow['id']}", json={"enabled": False})
    unused = await ada.call("PUT", address, json={"name": "new", "kind": "bearer"})
    forced = await ada.call("DELETE", f"{address}?force=true")

    assert [a.status_code for a in (refused, renamed, unused, forced)] == [409, 409, 200, 204]
    assert "'Orders'" in refused.json()["detail"]
    assert "Says" not in refused.json()["detail"]


async def test_a_use_in_an_expression_counts_and_force_deletes(ada: Caller) -> None:
    saved = await _keep(ada)
    config = {"url": "https://api.example.com/", "headers": {"X-Key": "k ${{ secrets.crm }}"}}
    body = [{"type": "http_request_node", "config": config}]
    each = {"id": "each", "type": "for_each", "config": {"items": "[1]"}, "steps": body}
    await ada.save(definition={"steps": [each]})

    refused = await ada.call("DELETE", f"/credentials/{saved['id']}")
    forced = await ada.call("DELETE", f"/credentials/{saved['id']}?force=true")

    assert (refused.status_code, forced.status_code) == (409, 204)


HTTP = {"id": "call", "type": "http_request_node"}
URL = {"url": "https://api.example.com/"}


@pytest.mark.parametrize(
    ("step", "code"),
    [
        ({**HTTP, "config": {**URL, "credential": "crn"}}, "unknown_credential"),
        ({**HTTP, "config": {**URL, "credential": "mail"}}, "wrong_credential_kind"),
        ({**HTTP, "config": {**URL, "credential": "${{ input.which }}"}}, "invalid_value"),
        ({**HTTP, "config": {"url": "https://x.test/${{ secrets.nothing }}"}}, "unknown_credential"),
        ({**HTTP, "config": {"url": "https://x.test/${{ secrets[input.x] }}"}}, "unknown_credential"),
        ({**HTTP, "config": {"url": "https://x.test/${{ secrets?.other ?? 1 }}"}}, "unknown_credential"),
        ({**HTTP, "config": URL, "when": "secrets.crm == 'a'"}, "secrets_not_allowed_here"),
        ({**HTTP, "config": {**URL, "text": "${{ slice(secrets.crm, 0, 1) }}"}}, "secret_not_whole"),
        ({**HTTP, "config": {**URL, "method": "${{ secrets.crm < 'b' ? 'GET' : 'x' }}"}}, "secret_not_whole"),
        ({"type": "transform", "config": {"value": "${{ secrets.crm }}"}}, "secrets_not_allowed_here"),
        ({"type": "log", "config": {"message": "${{ secrets.crm }}"}}, "secrets_not_allowed_here"),
        ({"type": "fail", "config": {"message": "${{ secrets.crm }}"}}, "secrets_not_allowed_here"),
        ({"type": "condition", "config": {"if": "secrets.crm == input.x"}}, "secrets_not_allowed_here"),
        ({"type": "respond", "config": {"body": "${{ secrets.crm }}"}}, "secrets_not_allowed_here"),
        ({"type": "run_workflow", "config": {"workflow": "x", "input": "${{ secrets.crm }}"}}, "secrets_not_allowed_here"),
        ({"type": "wait_for_event", "config": {"event_type": "x", "filter": "event.payload == secrets.crm"}}, "secrets_not_allowed_here"),
        ({"type": "for_each", "config": {"items": "[secrets.crm]"}, "steps": [{"type": "log", "config": {"message": "x"}}]}, "secrets_not_allowed_here"),
    ],
)  # fmt: skip
async def test_a_credential_that_is_not_there_or_does_not_belong_is_refused_at_save(
    ada: Caller, step: dict[str, Any], code: str
) -> None:
    await _keep(ada)
    await _keep(ada, name="mail", kind="smtp", data=SAMPLES["smtp"])
    definition = {"steps": [step]}

    saved = await ada.post("/workflows", {"name": "x", "definition": definition})
    checked = await ada.post("/workflows/validate", {"definition": definition})

    assert saved.status_code == 422
    assert code in [problem["code"] for problem in saved.json()["errors"]]
    assert code in [problem["code"] for problem in checked.json()["problems"]]


async def test_conditions_and_keys_outside_of_steps_know_no_secrets(ada: Caller) -> None:
    await _keep(ada)
    nodes = [{"id": name, "type": "log", "config": {"message": "x"}} for name in "ab"]
    edge = {"source": "a", "target": "b", "condition": "secrets.crm == 'x'"}
    graph = {"nodes": nodes, "edges": [edge], "start_node": "a"}
    bodies: list[dict[str, Any]] = [
        {"definition": graph},
        {"dedupe": {"key": "secrets.crm"}},
        {"on_event": {"type": "x", "filter": "event.payload == secrets.crm"}},
    ]

    answers = [
        await ada.post("/workflows", {"name": "x", "definition": _calls("crm")} | body)
        for body in bodies
    ]

    assert [answer.status_code for answer in answers] == [422, 422, 422]


async def test_a_definition_with_other_problems_tells_of_its_credentials_too(ada: Caller) -> None:
    definition = _calls("crm", nonsense=1)

    answer = await ada.post("/workflows", {"name": "x", "definition": definition})

    codes = {problem["code"] for problem in answer.json()["errors"]}
    assert codes == {"unknown_credential", "unknown_field"}


async def test_the_catalogue_shows_where_credentials_go(ada: Caller) -> None:
    node = (await ada.get("/nodes/http_request_node")).json()
    field = node["config_schema"]["properties"]["credential"]

    assert node["takes_secrets"] is True
    assert (await ada.get("/nodes/log")).json()["takes_secrets"] is False
    assert "bearer" in field["x-credential-kinds"]
    assert field["anyOf"][0]["format"] == "credential"


async def test_a_team_shares_by_role(ada: Caller, container: Container) -> None:
    team = (await ada.post("/teams", {"name": "Sales"})).json()["id"]
    with transaction(container.engine) as session:
        user = session.exec(select(User)).one()
        me = caller_of(user)
        editor = Person(me.id, me.email, me.role, me.scopes, {team: TeamRole.EDITOR})
        runner = Person(new_id(), "x", me.role, me.scopes, {team: TeamRole.RUNNER})
        draft = CredentialDraft(**CRM, team=team)

        saved = _of(container, session, editor).create(draft)

        changes = CredentialChanges(name="crm", kind="bearer", team=user.id)
        assert saved.team == team
        assert _of(container, session, runner).get(saved.id).name == "crm"
        with pytest.raises(PermissionDenied, match="editor"):
            _of(container, session, runner).delete(saved.id, force=True)
        with pytest.raises(PermissionDenied, match="editor"):
            _of(container, session, runner).create(draft)
        with pytest.raises(NotFound):
            _of(container, session, me).get(saved.id)
        with pytest.raises(NotFound):
            _of(container, session, me).create(draft)
        with pytest.raises(InvalidInput, match="stays with its owner"):
            _of(container, session, editor).change(saved.id, changes, None)


async def test_a_ciphertext_that_was_moved_does_not_open(ada: Caller, container: Container) -> None:
    ours, theirs = await _keep(ada), await _keep(ada, name="other")
    with Session(container.engine) as session:
        row = session.get_one(Credential, ours["id"])
        sealed = Sealed(row.key_id, row.ciphertext)

        opened = container.keys.open(sealed, bound_to(row.id, row.owner_id))

        assert orjson.loads(opened) == TOKEN
        for credential_id, owner_id in ((theirs["id"], row.owner_id), (row.id, new_id())):
            with pytest.raises(CannotDecrypt):
                container.keys.open(sealed, bound_to(credential_id, owner_id))


async def test_nothing_of_it_lies_open_in_the_database(ada: Caller, container: Container) -> None:
    await _keep(ada)

    with container.engine.connect() as connection:
        (row,) = connection.execute(text("SELECT * FROM credentials"))

    assert CANARY not in str(row)
    assert CANARY.encode() not in b"".join(bytes(x) for x in row if isinstance(x, bytes | memoryview))  # fmt: skip


async def test_rotation_encrypts_anew_and_old_keys_can_go(
    ada: Caller, container: Container
) -> None:
    for number in range(3):
        await _keep(ada, name=f"crm {number}")
    table = ENCRYPTED[0]
    old = container.keys
    ring = KeyRing({"k2": bytes(32), **old._keys})

    before = keys_in_use(container.engine, table)
    lacking = rotate(container.engine, KeyRing({"k2": bytes(32)}), table)
    rotated = rotate(container.engine, ring, table)
    again = rotate(container.engine, ring, table)

    assert before == {old.current: 3}
    assert (lacking, rotated, again) == (0, 3, 0)
    assert keys_in_use(container.engine, table) == {"k2": 3}
    with Session(container.engine) as session:
        for row in session.exec(select(Credential)):
            sealed, bound = Sealed(row.key_id, row.ciphertext), bound_to(row.id, row.owner_id)
            assert orjson.loads(KeyRing({"k2": bytes(32)}).open(sealed, bound)) == TOKEN


async def test_a_credential_without_hosts_may_go_wherever_its_owner_sends_it(ada: Caller) -> None:
    answer = await ada.post("/credentials", {"name": "crm", "kind": "bearer", "data": TOKEN})
    address = f"/credentials/{answer.json()['id']}"

    assert (answer.status_code, answer.json()["allowed_hosts"]) == (201, ["*"])
    fewer = {"name": "crm", "kind": "bearer", "allowed_hosts": ["a.test"]}
    assert (await ada.call("PUT", address, json=fewer)).status_code == 200
    again = await ada.call("PUT", address, json={**fewer, "allowed_hosts": ["*"]})
    assert (again.status_code, again.json()["errors"][0]["pointer"]) == (422, "/data")


async def test_who_edits_through_a_share_sends_no_credential_of_the_owner_anywhere(
    ada: Caller, sign_up: Sign
) -> None:
    bob = await sign_up("bob@example.com")
    await _keep(ada)
    workflow = await ada.save(definition=_calls("crm"))
    share = {"user": "bob@example.com", "role": "editor"}
    assert (await ada.call("PUT", f"/workflows/{workflow['id']}/shares", json=share)).is_success

    elsewhere = {"definition": _calls("crm", url="https://evil.test/")}
    refused = await bob.call("PATCH", f"/workflows/{workflow['id']}", json=elsewhere)
    as_it_is = {"definition": _calls("crm"), "name": "Mine"}
    same = await bob.call("PUT", f"/workflows/{workflow['id']}", json=as_it_is)
    renamed = await bob.call("PATCH", f"/workflows/{workflow['id']}", json={"name": "Ours"})

    assert [answer.status_code for answer in (refused, same, renamed)] == [422, 422, 200]
    assert [one["code"] for one in refused.json()["errors"]] == ["not_your_credential"]
