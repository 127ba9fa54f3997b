"""What policies say of one attempt: before it calls its node, whenever it calls a host, and of what it brings."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from app.core.ids import new_id
from app.core.statuses import WaitKind
from app.engine.attempt.answers import Refused
from app.engine.guards.budgets import USED_UP, BudgetBook, Spender
from app.engine.guards.hosts import HostLimit, hosts_in
from app.engine.guards.policies import (
    AND,
    HOST,
    VIOLATION,
    Policy,
    approvals_for,
    host_refusal,
    node_type_refusal,
    output_refusal,
)
from app.engine.planning.record import POLICY, Waiting
from app.engine.planning.transitions import Failed, Outcome, Succeeded, Suspended, resolution_of

ONE_VOTE: Final[Mapping[str, Any]] = {
    "form": None,
    "min_approvals": 1,
    "reject_quorum": 1,
    "allow_self": False,
    "on_reject": "fail",
    "timeout_action": "fail",
    "timeout_seconds": None,
    "escalate_to": None,
}
"""How people decide: one of them does, and not whoever started the run."""


@dataclass(frozen=True, slots=True)
class StepRules:
    """The policies that hold for one attempt. `types` are its own node type and those of the loops around it."""

    policies: tuple[Policy, ...]
    types: Sequence[str]
    spends: Sequence[str]
    granted: Sequence[str]
    """What people have approved for this step before."""
    spender: Spender
    budgets: BudgetBook

    def before(self, config: Mapping[str, Any]) -> Suspended | None:
        """Return that people are to be asked first; None when the attempt may call its node.

        Raises:
            Refused: a policy does not allow it.
        """
        hosts = [host for _, host in hosts_in(config)]
        for node_type in self.types:
            _refuse(node_type_refusal(self.policies, node_type))
        for host in hosts:
            _refuse(host_refusal(self.policies, host))
        for name in self.spends:
            used_up = self.used_up(name)
            if used_up is not None:  # waiting may help: the step's retry policy decides
                raise Refused(Failed(USED_UP, used_up))
        for policy, what in approvals_for(self.policies, self.types, hosts):
            if grant(policy, what) not in self.granted:
                return self._ask(policy, what)
        return None

    @property
    def host_limits(self) -> list[HostLimit]:
        """Return what the policies say of the hosts that the attempt calls."""
        return [
            policy.host_limit(asks=True, granted=_granted_hosts(policy, self.granted))
            for policy in self.policies
        ]

    def used_up(self, name: str) -> str | None:
        """Return why nothing more may be spent of a budget; None while something is left."""
        return self.budgets.refusal(self.policies, name)

    def after(self, outcome: Outcome) -> Outcome:
        """Return an outcome, or that its output is larger than allowed."""
        if not isinstance(outcome, Succeeded):
            return outcome
        refusal = output_refusal(self.policies, outcome.output_bytes)
        return outcome if refusal is None else Failed(VIOLATION, refusal, again=False)

    def _ask(self, policy: Policy, what: str) -> Suspended:
        rule = policy.rules.needs_approval
        approvers = [] if rule is None else list(rule.approvers)
        asked = {
            "approval_id": new_id(),
            "prompt": f"May step {self.spender.path!r} be carried out? "
            + policy.refusal(f"wants somebody to approve {what}"),
            "approvers": approvers,
        }
        nobody = Failed("approval_timed_out", "Nobody decided in time.", again=False)
        wait = Waiting(WaitKind.APPROVAL, None, {**asked, POLICY: grant(policy, what)})
        return Suspended(wait, resolution_of(nobody), {**ONE_VOTE, **asked})


def grant(policy: Policy, what: str) -> str:
    """Return how it is remembered that people have approved what a policy wants approved."""
    return f"{policy.key} {what}"


def _granted_hosts(policy: Policy, granted: Sequence[str]) -> list[str]:
    """Return the hosts that people have let a step call, when this policy asked them."""
    begins = f"{policy.key} "
    things = [one.removeprefix(begins).split(AND) for one in granted if one.startswith(begins)]
    return [one.removeprefix(HOST) for some in things for one in some if one.startswith(HOST)]


def _refuse(refusal: str | None) -> None:
    if refusal is not None:
        raise Refused(Failed(VIOLATION, refusal, again=False))
