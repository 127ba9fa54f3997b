"""What a decision does to an approval, and what its time-out does. Pure: values in, values out.

A step's approval is `pending` until enough people have decided, its time is up, or its run goes on without it. Whoever is
no approver and may not read the run is not told that it exists.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Final, Literal

from app.core.errors import Conflict, NotFound, PermissionDenied
from app.core.statuses import ApprovalStatus
from app.engine.planning.record import rfc3339
from app.engine.planning.transitions import Failed, Resolution, Succeeded, resolution_of

TimeoutAction = Literal["fail", "approve", "reject", "escalate"]
Via = Literal["api", "link"]
ROLE: Final = "role:"
TEAM: Final = "team:"
REJECTED_CODE: Final = "approval_rejected"
TIMED_OUT_CODE: Final = "approval_timed_out"
UNKNOWN: Final = "There is no such approval, or it is not yours to see."


@dataclass(frozen=True, slots=True)
class Said:
    """What one person has decided: `approved` or `rejected`."""

    by: str
    decision: ApprovalStatus
    at: datetime
    comment: str | None = None
    form: Any = None
    via: Via = "api"

    @property
    def shown(self) -> dict[str, Any]:
        """Return it as the step's output tells it."""
        return {
            "by": self.by,
            "decision": self.decision.value,
            "comment": self.comment,
            "at": rfc3339(self.at),
            "form": self.form,
        }


@dataclass(frozen=True, slots=True)
class Asked:
    """An approval as it stands. `said` are its decisions, in the order in which they came."""

    id: str
    owner_id: str
    run_id: str
    path: str
    attempt: int
    status: ApprovalStatus
    prompt: str
    form: Any
    approvers: Sequence[str]
    min_approvals: int
    reject_quorum: int
    allow_self: bool
    requested_by: str | None
    shown_hash: str
    on_reject: str
    timeout_action: TimeoutAction
    timeout_seconds: float | None
    escalate_to: Sequence[str] | None
    escalated_at: datetime | None
    due_at: datetime | None
    said: tuple[Said, ...] = ()

    @property
    def may_grow(self) -> bool:
        """Tell whether more people will be asked once the time is up."""
        return self.timeout_action == "escalate" and self.escalated_at is None


@dataclass(frozen=True, slots=True)
class Person:
    """Who wants to see or decide. `role` is None for whoever comes by a link; `teams` are the names of theirs.

    `sees_run`: they may read the run that asks. `may_have_started`: nobody knows who started it, and a policy wants
    somebody else than they to decide.
    """

    email: str
    role: str | None = None
    user_id: str | None = None
    teams: frozenset[str] = frozenset()
    sees_run: bool = False
    may_have_started: bool = False

    @property
    def names(self) -> frozenset[str]:
        """Return the names by which they can be among the approvers."""
        roles = () if self.role is None else (ROLE + self.role,)
        return frozenset({self.email, *roles, *(TEAM + name for name in self.teams)})

    @property
    def via(self) -> Via:
        """Return how they decide."""
        return "api" if self.user_id is not None else "link"


@dataclass(frozen=True, slots=True)
class Ended:
    """The approval is over, and with it the wait of its step."""

    asked: Asked
    resolution: Resolution


def require_sight(asked: Asked | None, person: Person) -> Asked:
    """Return an approval that a person may see: an approver, or whoever may read the run.

    Raises:
        NotFound: they are neither, or there is none.
    """
    if asked is None or not (_is_approver(asked, person) or person.sees_run):
        raise NotFound(UNKNOWN)
    return asked


def require_open(asked: Asked, person: Person, shown_hash: str | None, now: datetime) -> None:
    """Pass whoever may decide on it now; `shown_hash` is that of what they have seen, if they tell it.

    Raises:
        NotFound: they are no approver, and may not read the run.
        PermissionDenied: they are no approver, or have (or may have) started the run themselves.
        Conflict: it is over, they have decided already, or they have seen something else.
    """
    require_sight(asked, person)
    _require_right(asked, person)
    if asked.status is not ApprovalStatus.PENDING:
        raise Conflict(f"This approval is {asked.status.value} already: nothing is to be decided.")
    if _is_late(asked, now):
        raise Conflict("The time for this approval is up: nothing is to be decided any more.")
    if any(said.by == person.email for said in asked.said):
        raise Conflict(f"{person.email} has decided already, and each approver decides once.")
    if shown_hash is not None and shown_hash != asked.shown_hash:
        raise Conflict(
            "`shown_hash` is not that of this approval: read it again, and decide on what it shows."
        )


def decide(asked: Asked, said: Said) -> Asked | Ended:
    """Return the approval after one more decision, or its end."""
    asked = replace(asked, said=(*asked.said, said))
    if len(_those(asked, ApprovalStatus.REJECTED)) >= asked.reject_quorum:
        return _end(asked, ApprovalStatus.REJECTED)
    if len(_those(asked, ApprovalStatus.APPROVED)) >= asked.min_approvals:
        return _end(asked, ApprovalStatus.APPROVED)
    if _is_out_of_reach(asked):
        return _end(asked, ApprovalStatus.REJECTED)
    return asked


def time_out(asked: Asked, now: datetime) -> Asked | Ended:
    """Return the approval with more approvers and as much time again (once), or its end."""
    match asked.timeout_action:
        case "approve":
            resolution = _approved(asked, timed_out=True)
        case "reject":
            message = "There were not enough approvals in time, and so it counts as rejected."
            resolution = _rejected(asked, message, timed_out=True)
        case "escalate" if asked.escalated_at is None:
            return _escalate(asked, now)
        case _:
            message = "There were not enough decisions in time."
            resolution = resolution_of(
                Failed(TIMED_OUT_CODE, message, again=False, data=_decisions(asked))
            )
    return Ended(replace(asked, status=ApprovalStatus.EXPIRED), resolution)


def _is_approver(asked: Asked, person: Person) -> bool:
    return not person.names.isdisjoint(asked.approvers)


def _require_right(asked: Asked, person: Person) -> None:
    if not _is_approver(asked, person):
        raise PermissionDenied("You are not among the approvers: they are to decide.")
    if _is_self(asked, person.email):
        raise PermissionDenied(
            "You have started this run, so others are to decide: `allow_self` in the step would let you."
        )
    if person.may_have_started:
        raise PermissionDenied(
            "Nobody knows who started this run, and whoever may edit a workflow of its owner could have: somebody else is to decide."
        )


def _is_self(asked: Asked, name: str) -> bool:
    return name == asked.requested_by and not asked.allow_self


def _is_late(asked: Asked, now: datetime) -> bool:
    return asked.due_at is not None and asked.due_at <= now and not asked.may_grow


def _those(asked: Asked, decision: ApprovalStatus) -> list[Said]:
    return [said for said in asked.said if said.decision is decision]


def _is_out_of_reach(asked: Asked) -> bool:
    """Tell whether too few are left to approve it. Nobody knows how many have a role or are in a team."""
    if asked.may_grow or any(name.startswith((ROLE, TEAM)) for name in asked.approvers):
        return False
    decided = {said.by for said in asked.said}
    left = [name for name in asked.approvers if name not in decided and not _is_self(asked, name)]
    return len(_those(asked, ApprovalStatus.APPROVED)) + len(left) < asked.min_approvals


def _end(asked: Asked, status: ApprovalStatus) -> Ended:
    asked = replace(asked, status=status)
    if status is ApprovalStatus.APPROVED:
        return Ended(asked, _approved(asked))
    return Ended(asked, _rejected(asked, _reasons(asked)))


def _escalate(asked: Asked, now: datetime) -> Asked:
    approvers = dict.fromkeys([*asked.approvers, *(asked.escalate_to or ())])
    due_at = now + timedelta(seconds=asked.timeout_seconds or 0)
    return replace(asked, approvers=[*approvers], due_at=due_at, escalated_at=now)


def _approved(asked: Asked, *, timed_out: bool = False) -> Resolution:
    output = {"decision": "approved", **_decisions(asked), "timed_out": timed_out}
    return resolution_of(Succeeded(output, "approved"))


def _rejected(asked: Asked, message: str, *, timed_out: bool = False) -> Resolution:
    output = {"decision": "rejected", **_decisions(asked), "timed_out": timed_out}
    if asked.on_reject == "port":
        return resolution_of(Succeeded(output, "rejected"))
    return resolution_of(Failed(REJECTED_CODE, message, again=False, data=output))


def _decisions(asked: Asked) -> dict[str, Any]:
    return {"decisions": [said.shown for said in asked.said]}


def _reasons(asked: Asked) -> str:
    reasons = [
        f"{said.by}: {said.comment}" if said.comment else said.by
        for said in _those(asked, ApprovalStatus.REJECTED)
    ]
    return f"Rejected by {'; '.join(reasons)}"[:2_000]
