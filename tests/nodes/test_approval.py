"""What may be asked of whom, and how the step waits for it."""

from typing import Any

import pytest

from app.core.errors import InvalidDefinition
from app.engine.language.definition import parse_definition
from app.engine.nodes.approval import Approval, Config, WaitForApproval
from app.engine.registry import load_catalogue
from app.engine.sdk import Fail, Suspend
from tests.nodes.fakes import FakeContext

CATALOGUE = load_catalogue()
LEAST = {"approvers": ["cfo@example.com"], "prompt": "Ship it?"}


def _problems(node_type: str = "approval", **config: Any) -> list[tuple[str, str]]:
    try:
        parse_definition({"steps": [{"type": node_type, "config": LEAST | config}]}, CATALOGUE)
    except InvalidDefinition as refusal:
        at = "/steps/0/config"
        return [(problem.pointer.removeprefix(at), problem.detail) for problem in refusal.problems]
    return []


async def _suspended(context: FakeContext | None = None, **config: Any) -> Suspend:
    return await Approval().run(Config(**LEAST | config), context or FakeContext())


@pytest.mark.parametrize("node_type", ["approval", "wait_for_approval"])
def test_both_names_take_the_same(node_type: str) -> None:
    assert _problems(node_type) == []
    assert issubclass(WaitForApproval, Approval)


@pytest.mark.parametrize(
    "config",
    [
        {"approvers": ["role:manager"], "min_approvals": 5},
        {"approvers": ["team:Köln 2"], "min_approvals": 5},
        {"approvers": "${{ input.people }}", "min_approvals": 40},
        {"timeout_seconds": "${{ input.hours * 3600 }}", "timeout_action": "reject"},
        {"timeout_seconds": 5, "timeout_action": "escalate", "escalate_to": ["b@example.com"]},
        {"form": {"properties": {"centre": {"enum": "${{ input.centres }}"}}}},
        {"form": "${{ input.form }}"},
    ],
)
def test_what_can_be_asked_is_taken(config: dict[str, Any]) -> None:
    assert _problems(**config) == []


@pytest.mark.parametrize(
    ("config", "place", "word"),
    [
        ({"approvers": ["team:"]}, "/approvers/0", "team:finance"),
        ({"approvers": ["nobody"]}, "/approvers/0", "e-mail address"),
        ({"approvers": ["role:"]}, "/approvers/0", "role:admin"),
        ({"approvers": []}, "/approvers", "empty"),
        (
            {"timeout_seconds": 5, "timeout_action": "escalate", "escalate_to": ["team:!"]},
            "/escalate_to/0",
            "names no team",
        ),
        ({"min_approvals": 2}, "", "`min_approvals` can never be reached"),
        ({"reject_quorum": 2}, "", "`reject_quorum` can never be reached"),
        ({"timeout_action": "reject"}, "", "timeout_seconds"),
        ({"timeout_action": "escalate", "timeout_seconds": 5}, "", "escalate_to"),
        ({"escalate_to": ["b@example.com"], "timeout_seconds": 5}, "", "escalate_to"),
        ({"form": {"type": "objekt"}}, "/form/type", "JSON Schema"),
        ({"form": {"$ref": "http://example.com"}}, "/form/$ref", "$ref"),
        ({"form": {"pattern": "(?=x)"}}, "/form/pattern", "RE2"),
    ],
)
def test_what_cannot_be_asked_is_refused_at_save(
    config: dict[str, Any], place: str, word: str
) -> None:
    pointer, detail = _problems(**config)[0]

    assert pointer == place
    assert word in detail


async def test_the_step_waits_without_a_due_time_of_the_engines() -> None:
    suspended = await _suspended(timeout_seconds=60, approvers=["CFO@Example.com", "role:admin"])

    assert (suspended.kind, suspended.until) == ("approval", None)
    assert isinstance(suspended.on_due, Fail)
    assert suspended.shown == {
        "approval_id": FakeContext().new_id(),
        "prompt": "Ship it?",
        "approvers": ["cfo@example.com", "role:admin"],
        "until": "2026-11-20T12:01:00.000Z",
    }


@pytest.mark.parametrize(
    ("ports", "on_reject", "leaves"),
    [
        (set(), "fail", "fail"),
        ({"approved"}, "fail", "fail"),
        ({"rejected"}, "fail", "port"),
        (set(), "port", "port"),
    ],
)
async def test_a_rejection_leaves_by_a_port_that_is_used(
    ports: set[str], on_reject: str, leaves: str
) -> None:
    context = FakeContext(ports_in_use=frozenset(ports))

    suspended = await _suspended(context, on_reject=on_reject)

    assert suspended.data["on_reject"] == leaves
