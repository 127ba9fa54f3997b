"""Policies on three levels, and what they come to: the stricter wins. Pure: values in, verdicts out.

Counts are kept by level: what the platform's policy caps holds for each owner, a team's for what the team owns, a workflow's
for that workflow.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from app.engine.guards.host_names import among, covers, plain_host
from app.engine.guards.hosts import HostLimit, refusal_of, sentence
from app.engine.guards.rules import Hosts, NeedsApproval, NodeTypes, PolicyRules

AND: Final = " and "
HOST: Final = "the host "
VIOLATION: Final = "policy_violation"
PLATFORM_TARGET: Final = "00000000-0000-0000-0000-000000000000"


class Level(StrEnum):
    """For what a policy holds."""

    PLATFORM = "platform"
    """Everything."""
    TEAM = "team"
    """The workflows of one team."""
    WORKFLOW = "workflow"
    """One workflow."""


@dataclass(frozen=True, slots=True)
class Policy:
    """A policy as it stands. `target` is the team's or workflow's id."""

    level: Level
    target: str
    revision: int
    rules: PolicyRules

    @property
    def key(self) -> str:
        """Return what tells it from all others."""
        return f"{self.level}:{self.target}"

    @property
    def whose(self) -> str:
        """Return how sentences call it."""
        if self.level is Level.PLATFORM:
            return "The platform's policy"
        return f"The policy of the {self.level} {self.target}"

    def refusal(self, what: str) -> str:
        """Return a sentence that says what it refuses, and who can change that."""
        return sentence(self.whose, what, _WHO_CHANGES[self.level])

    def host_limit(self, *, asks: bool = False, granted: Sequence[str] = ()) -> HostLimit:
        """Return what it says of hosts; when it `asks`, also of those that are called only once that is granted."""
        hosts, needs = self.rules.hosts, self.rules.needs_approval
        return HostLimit(
            self.whose,
            _WHO_CHANGES[self.level],
            hosts.allowed,
            hosts.denied,
            needs.hosts if asks and needs is not None else (),
            granted,
        )


_WHO_CHANGES: Final = {
    Level.PLATFORM: "administrators can change that (PUT /api/v1/admin/policies).",
    Level.TEAM: "the team's owners can change that (PUT /api/v1/teams/{team_id}/policy).",
    Level.WORKFLOW: "whoever may edit the workflow can change that (PUT /api/v1/workflows/{workflow_id}/policy).",
}


def node_type_refusal(policies: Sequence[Policy], node_type: str) -> str | None:
    """Return why steps may not have a node type; None when they may."""
    for policy in policies:
        rule = policy.rules.node_types
        if node_type in rule.denied:
            return policy.refusal(f"denies the node type {node_type!r}")
        if rule.allowed is not None and node_type not in rule.allowed:
            return policy.refusal(f"does not allow the node type {node_type!r}")
    return None


def host_refusal(policies: Sequence[Policy], host: str) -> str | None:
    """Return why a host may not be called; None when it may."""
    return refusal_of([policy.host_limit() for policy in policies], host)


def approvals_for(
    policies: Sequence[Policy], node_types: Sequence[str], hosts: Sequence[str]
) -> Iterator[tuple[Policy, str]]:
    """Yield the policies that want an approval for such a step, with what they want it for."""
    for policy in policies:
        rule = policy.rules.needs_approval
        if rule is None:
            continue
        found = [f"the node type {name!r}" for name in node_types if name in rule.node_types]
        found += [f"{HOST}{host}" for host in map(plain_host, hosts) if among(host, rule.hosts)]
        if found:
            yield policy, AND.join(found)


def output_refusal(policies: Sequence[Policy], size: int) -> str | None:
    """Return why an output is too large; None when it is not."""
    return _size_refusal(policies, size, "output of a step", lambda rules: rules.max_output_bytes)


def input_refusal(policies: Sequence[Policy], size: int) -> str | None:
    """Return why an input is too large; None when it is not."""
    return _size_refusal(policies, size, "input of a run", lambda rules: rules.max_input_bytes)


def _size_refusal(
    policies: Sequence[Policy], size: int, what: str, cap: Callable[[PolicyRules], int | None]
) -> str | None:
    for policy in policies:
        most = cap(policy.rules)
        if most is not None and size > most:
            return policy.refusal(
                f"lets the {what} have {most:,} bytes of JSON at most, and this one has {size:,}"
            )
    return None


def merge(rules: Sequence[PolicyRules]) -> PolicyRules:
    """Return what several policies come to: whatever one of them refuses is refused."""
    types = [one.node_types for one in rules]
    hosts = [one.hosts for one in rules]
    return PolicyRules.model_construct(  # lists may grow beyond what one policy may say
        node_types=NodeTypes.model_construct(
            allowed=_all_of([one.allowed for one in types], _same_name),
            denied=_union([one.denied for one in types]),
        ),
        hosts=Hosts.model_construct(
            allowed=_all_of([one.allowed for one in hosts], _narrower),
            denied=_union([one.denied for one in hosts]),
        ),
        max_input_bytes=_least([one.max_input_bytes for one in rules]),
        max_output_bytes=_least([one.max_output_bytes for one in rules]),
        max_runs=[limit for one in rules for limit in one.max_runs],
        max_concurrent_runs=_least([one.max_concurrent_runs for one in rules]),
        max_queued_runs=_least([one.max_queued_runs for one in rules]),
        needs_approval=_merge_approvals(rules),
        budgets=[budget for one in rules for budget in one.budgets],
    )


def _merge_approvals(rules: Sequence[PolicyRules]) -> NeedsApproval | None:
    """Return all that needs an approval. Each policy asks its own approvers: the merged list shows who is asked by any."""
    found = [one.needs_approval for one in rules if one.needs_approval is not None]
    if not found:
        return None
    return NeedsApproval.model_construct(
        node_types=_union([one.node_types for one in found]),
        hosts=_union([one.hosts for one in found]),
        approvers=_union([one.approvers for one in found]),
    )


def _narrower(one: str, other: str) -> str | None:
    """Return what two patterns have in common; None: nothing."""
    if covers(one, other):
        return other
    return one if covers(other, one) else None


def _same_name(one: str, other: str) -> str | None:
    return one if one == other else None


def _all_of(
    lists: Sequence[Sequence[str] | None], common: Callable[[str, str], str | None]
) -> list[str] | None:
    """Return what all of the lists allow; None is a list of everything."""
    given = [entries for entries in lists if entries is not None]
    if not given:
        return None
    allowed = dict.fromkeys(given[0])
    for entries in given[1:]:
        pairs = (common(one, other) for one in allowed for other in entries)
        allowed = dict.fromkeys(entry for entry in pairs if entry is not None)
    return list(allowed)


def _union(lists: Sequence[Sequence[str]]) -> list[str]:
    return list(dict.fromkeys(entry for entries in lists for entry in entries))


def _least(caps: Sequence[int | None]) -> int | None:
    return min((cap for cap in caps if cap is not None), default=None)
