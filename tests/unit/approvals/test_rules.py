"""What decisions and time-outs do to an approval, at times that the test chooses."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from app.core.errors import AutomateError, Conflict, NotFound, PermissionDenied
from app.core.statuses import ApprovalStatus
from app.engine.approvals.rules import (
    Asked,
    Ended,
    Person,
    Said,
    decide,
    require_open,
    require_sight,
    time_out,
)

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
ANN, BEN, CAT = (f"{name}@example.com" for name in ("ann", "ben", "cat"))
OWNER = Person("owner@example.com", "member", "owner", sees_run=True)
APPROVED, REJECTED = ApprovalStatus.APPROVED, ApprovalStatus.REJECTED


def _asked(**changes: Any) -> Asked:
    asked = Asked(
        id="1",
        owner_id="owner",
        run_id="2",
        path="sign_off",
        attempt=1,
        status=ApprovalStatus.PENDING,
        prompt="Ship it?",
        form=None,
        approvers=[ANN, BEN],
        min_approvals=1,
        reject_quorum=1,
        allow_self=False,
        requested_by=None,
        shown_hash="a" * 64,
        on_reject="fail",
        timeout_action="fail",
        timeout_seconds=3600,
        escalate_to=None,
        escalated_at=None,
        due_at=NOW + HOUR,
    )
    return replace(asked, **changes)


def _said(by: str, decision: ApprovalStatus = APPROVED, comment: str | None = None) -> Said:
    return Said(by, decision, NOW, comment)


def _refusal(asked: Asked, person: Person, **seen: Any) -> type[AutomateError]:
    with pytest.raises(AutomateError) as refusal:
        require_open(asked, person, seen.get("shown_hash"), seen.get("now", NOW))
    return type(refusal.value)


def _in_turn(asked: Asked, *said: Said) -> Asked | Ended:
    after: Asked | Ended = asked
    for one in said:
        assert isinstance(after, Asked)
        after = decide(after, one)
    return after


def _ended(after: Asked | Ended) -> Ended:
    assert isinstance(after, Ended)
    return after


def test_an_approver_may_decide_what_they_were_shown() -> None:
    asked, ann = _asked(), Person(ANN, "member", "7")

    require_open(asked, ann, "a" * 64, NOW)
    assert _refusal(asked, ann, shown_hash="b" * 64) is Conflict


def test_whoever_has_the_role_may_decide() -> None:
    asked, cat = _asked(approvers=["role:admin"]), Person(CAT, "admin", "7")

    require_open(asked, cat, None, NOW)
    assert _refusal(asked, replace(cat, role="member")) is NotFound


def test_a_team_may_decide_by_each_of_its_members() -> None:
    asked, member = _asked(approvers=["team:finance"]), Person(CAT, "member", "7")

    require_open(asked, replace(member, teams=frozenset({"finance"})), None, NOW)
    assert _refusal(asked, replace(member, teams=frozenset({"sales"}))) is NotFound


def test_a_link_brings_no_role() -> None:
    assert _refusal(_asked(approvers=["role:admin"]), Person(CAT)) is NotFound


def test_a_stranger_is_not_told_that_it_exists() -> None:
    assert _refusal(_asked(), Person(CAT, "admin", "7")) is NotFound


def test_the_owner_may_look_but_not_decide() -> None:
    asked = _asked()

    assert require_sight(asked, OWNER) is asked
    assert _refusal(asked, OWNER) is PermissionDenied


def test_who_started_the_run_may_not_decide_unless_allowed_to() -> None:
    asked, ann = _asked(requested_by=ANN), Person(ANN, "member", "7")

    assert _refusal(asked, ann) is PermissionDenied
    require_open(replace(asked, allow_self=True), ann, None, NOW)


def test_everybody_decides_once() -> None:
    assert _refusal(_asked(said=(_said(ANN),)), Person(ANN)) is Conflict


@pytest.mark.parametrize(
    "status", [status for status in ApprovalStatus if status is not ApprovalStatus.PENDING]
)
def test_what_is_over_is_not_decided(status: ApprovalStatus) -> None:
    assert _refusal(_asked(status=status), Person(ANN)) is Conflict


def test_strangers_learn_nothing_of_what_is_over_either() -> None:
    assert _refusal(_asked(status=APPROVED), Person(CAT)) is NotFound


def test_a_decision_at_the_end_of_the_time_is_late() -> None:
    require_open(_asked(), Person(ANN), None, NOW + HOUR - timedelta(seconds=1))

    assert _refusal(_asked(), Person(ANN), now=NOW + HOUR) is Conflict


def test_while_it_is_about_to_be_escalated_it_is_not_late() -> None:
    asked = _asked(timeout_action="escalate", escalate_to=[CAT])

    require_open(asked, Person(ANN), None, NOW + HOUR)

    escalated = replace(asked, escalated_at=NOW)
    assert _refusal(escalated, Person(ANN), now=NOW + HOUR) is Conflict


def test_a_decision_on_something_else_is_refused() -> None:
    assert _refusal(_asked(), Person(ANN), shown_hash="b" * 64) is Conflict


def test_one_approval_is_enough_unless_more_are_asked_for() -> None:
    ended = _ended(decide(_asked(), _said(ANN, comment="fine")))

    assert ended.asked.status is APPROVED
    assert ended.resolution == {
        "port": "approved",
        "output": {
            "decision": "approved",
            "timed_out": False,
            "decisions": [
                {
                    "by": ANN,
                    "decision": "approved",
                    "comment": "fine",
                    "at": "2026-11-20T12:00:00.000Z",
                    "form": None,
                }
            ],
        },
    }


def test_it_waits_for_as_many_as_are_asked_for() -> None:
    asked = _asked(min_approvals=2)

    assert isinstance(_in_turn(asked, _said(ANN)), Asked)
    assert _ended(_in_turn(asked, _said(ANN), _said(BEN))).asked.status is APPROVED


def test_one_rejection_fails_the_step_and_says_why() -> None:
    ended = _ended(decide(_asked(min_approvals=2), _said(BEN, REJECTED, "too dear")))

    error = ended.resolution["error"]
    assert ended.asked.status is REJECTED
    assert (error["code"], error["message"]) == (
        "approval_rejected",
        f"Rejected by {BEN}: too dear",
    )
    assert error["data"]["decisions"][0]["by"] == BEN
    assert ended.resolution["again"] is False


def test_a_rejection_leaves_by_its_port_where_it_is_wanted() -> None:
    ended = _ended(decide(_asked(on_reject="port"), _said(BEN, REJECTED)))

    assert ended.resolution["port"] == "rejected"
    assert ended.resolution["output"]["decision"] == "rejected"


def test_a_quorum_of_rejections_can_be_asked_for() -> None:
    asked = _asked(approvers=[ANN, BEN, CAT], reject_quorum=2)

    assert isinstance(_in_turn(asked, _said(ANN, REJECTED)), Asked)
    ended = _ended(_in_turn(asked, _said(ANN, REJECTED), _said(BEN, REJECTED)))
    assert ended.asked.status is REJECTED


@pytest.mark.parametrize(
    ("changes", "over"),
    [
        ({}, True),
        ({"approvers": [ANN, BEN, "role:admin"]}, False),
        ({"approvers": [ANN, BEN, "team:finance"]}, False),
        ({"timeout_action": "escalate", "escalate_to": [CAT]}, False),
        ({"approvers": [ANN, BEN, CAT], "requested_by": CAT}, True),
        ({"approvers": [ANN, BEN, CAT], "requested_by": CAT, "allow_self": True}, False),
    ],
)
def test_it_is_rejected_once_too_few_are_left_to_approve(
    changes: dict[str, Any], over: bool
) -> None:
    asked = _asked(min_approvals=2, reject_quorum=2, **changes)

    after = _in_turn(asked, _said(ANN), _said(BEN, REJECTED))

    assert isinstance(after, Ended) is over
    assert over is False or _ended(after).asked.status is REJECTED


def test_it_fails_the_step_unless_told_otherwise() -> None:
    ended = _ended(time_out(_asked(min_approvals=2, said=(_said(ANN),)), NOW))

    assert ended.asked.status is ApprovalStatus.EXPIRED
    assert ended.resolution["error"]["code"] == "approval_timed_out"
    assert len(ended.resolution["error"]["data"]["decisions"]) == 1


def test_it_can_count_as_approval() -> None:
    ended = _ended(time_out(_asked(timeout_action="approve"), NOW))

    assert ended.asked.status is ApprovalStatus.EXPIRED
    assert ended.resolution == {
        "port": "approved",
        "output": {"decision": "approved", "decisions": [], "timed_out": True},
    }


@pytest.mark.parametrize(("on_reject", "ends"), [("fail", "error"), ("port", "output")])
def test_it_can_count_as_rejection(on_reject: str, ends: str) -> None:
    ended = _ended(time_out(_asked(timeout_action="reject", on_reject=on_reject), NOW))

    assert ended.asked.status is ApprovalStatus.EXPIRED
    assert ends in ended.resolution
    assert "approval_timed_out" not in str(ended.resolution)


def test_it_can_ask_further_people_for_as_long_again_once() -> None:
    asked = _asked(timeout_action="escalate", escalate_to=[BEN, CAT], said=(_said(ANN),))

    once = time_out(asked, NOW + HOUR)

    assert isinstance(once, Asked)
    assert once.approvers == [ANN, BEN, CAT]
    assert (once.escalated_at, once.due_at) == (NOW + HOUR, NOW + 2 * HOUR)
    assert (once.status, once.said) == (ApprovalStatus.PENDING, asked.said)
    twice = _ended(time_out(once, NOW + 2 * HOUR))
    assert twice.resolution["error"]["code"] == "approval_timed_out"
