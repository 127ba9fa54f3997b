"""What policies come to: the stricter wins, whatever they say, and a refusal names whose it is and who can change it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from app.engine.guards.host_names import plain_host
from app.engine.guards.hosts import host_of, hosts_in
from app.engine.guards.policies import (
    PLATFORM_TARGET,
    Level,
    Policy,
    approvals_for,
    host_refusal,
    input_refusal,
    merge,
    node_type_refusal,
    output_refusal,
)
from app.engine.guards.rules import PolicyRules

TEAM, WORKFLOW = (
    "019aa4c2-6f10-7c3e-9d52-3b1f7a8e4c11",
    "019aa4c2-6f10-7c3e-9d52-3b1f7a8e4c12",
)
NAMES = st.sampled_from(["a.com", "b.a.com", "c.b.a.com", "d.org", "x.d.org", "e.net"])
PATTERNS = st.one_of(NAMES, NAMES.map(lambda name: f"*.{name}"))
TYPES = st.sampled_from(["log", "transform", "http_request_node", "delay"])
CAPS = st.none() | st.integers(1, 1000)
RULES = st.builds(
    lambda types, hosts, sizes, needs: PolicyRules.model_validate(
        {
            "node_types": types,
            "hosts": hosts,
            "max_input_bytes": sizes[0],
            "max_output_bytes": sizes[1],
            "needs_approval": needs,
        }
    ),
    st.fixed_dictionaries(
        {"allowed": st.none() | st.lists(TYPES), "denied": st.lists(TYPES, max_size=2)}
    ),
    st.fixed_dictionaries(
        {"allowed": st.none() | st.lists(PATTERNS), "denied": st.lists(PATTERNS, max_size=2)}
    ),
    st.tuples(CAPS, CAPS),
    st.none() | st.fixed_dictionaries({"node_types": st.lists(TYPES), "hosts": st.lists(PATTERNS)}),
)


def _policies(*rules: PolicyRules) -> list[Policy]:
    places = ((Level.PLATFORM, PLATFORM_TARGET), (Level.TEAM, TEAM), (Level.WORKFLOW, WORKFLOW))
    return [Policy(*place, 1, one) for place, one in zip(places, rules, strict=False)]


@given(st.lists(RULES, min_size=1, max_size=3), TYPES, NAMES, st.integers(0, 1200))
def test_merged_policies_refuse_exactly_what_one_of_them_refuses(
    rules: list[PolicyRules], node_type: str, host: str, size: int
) -> None:
    each, merged = _policies(*rules), _policies(merge(rules))

    assert bool(node_type_refusal(merged, node_type)) == bool(node_type_refusal(each, node_type))
    assert bool(host_refusal(merged, host)) == bool(host_refusal(each, host))
    assert bool(input_refusal(merged, size)) == bool(input_refusal(each, size))
    assert bool(output_refusal(merged, size)) == bool(output_refusal(each, size))
    assert any(approvals_for(merged, [node_type], [host])) == any(
        approvals_for(each, [node_type], [host])
    )


@given(st.lists(RULES, max_size=2), RULES, TYPES, NAMES, st.integers(0, 1200))
def test_one_more_policy_never_allows_what_was_refused(
    rules: list[PolicyRules], more: PolicyRules, node_type: str, host: str, size: int
) -> None:
    before, after = _policies(merge(rules)), _policies(merge([*rules, more]))

    assert not node_type_refusal(before, node_type) or node_type_refusal(after, node_type)
    assert not host_refusal(before, host) or host_refusal(after, host)
    assert not input_refusal(before, size) or input_refusal(after, size)
    assert not output_refusal(before, size) or output_refusal(after, size)
    assert not any(approvals_for(before, [node_type], [host])) or any(
        approvals_for(after, [node_type], [host])
    )


def test_caps_come_to_the_least_and_limits_and_budgets_to_all_of_them() -> None:
    one = PolicyRules.model_validate(
        {
            "max_concurrent_runs": 5,
            "max_queued_runs": 10,
            "max_runs": [{"count": 5, "window_seconds": 60}],
            "budgets": [{"name": "llm_usd", "limit": 1}],
        }
    )
    other = PolicyRules.model_validate(
        {
            "max_concurrent_runs": 7,
            "max_runs": [{"count": 9, "window_seconds": 3600}],
            "budgets": [{"name": "llm_usd", "limit": 2, "window_seconds": 60}],
        }
    )

    merged = merge([one, other])

    assert (merged.max_concurrent_runs, merged.max_queued_runs) == (5, 10)
    assert merged.max_runs == [*one.max_runs, *other.max_runs]
    assert merged.budgets == [*one.budgets, *other.budgets]


@pytest.mark.parametrize(
    ("level", "names", "who"),
    [
        (0, "The platform's policy", "administrators"),
        (1, f"The policy of the team {TEAM}", "the team's owners"),
        (2, f"The policy of the workflow {WORKFLOW}", "whoever may edit the workflow"),
    ],
)
def test_a_refusal_names_the_policy_and_who_can_change_it(level: int, names: str, who: str) -> None:
    rules = [PolicyRules()] * 3
    rules[level] = PolicyRules.model_validate({"node_types": {"denied": ["log"]}})

    refusal = node_type_refusal(_policies(*rules), "log")

    assert refusal is not None
    assert refusal.startswith(f"{names} denies the node type 'log'")
    assert f"{who} can change that" in refusal


@pytest.mark.parametrize(
    ("pattern", "host", "matches"),
    [
        ("*.example.com", "api.example.com", True),
        ("*.example.com", "a.b.example.com", True),
        ("*.example.com", "example.com", False),
        ("*.example.com", "evilexample.com", False),
        ("api.example.com", "API.EXAMPLE.COM.", True),
        ("bücher.example", "xn--bcher-kva.example", True),
        ("127.0.0.1", "2130706433", True),
        ("127.0.0.1", "0x7f.1", True),
        ("::1", "[::1]", True),
    ],
)
def test_hosts_match_in_whatever_spelling(pattern: str, host: str, matches: bool) -> None:
    rules = PolicyRules.model_validate({"hosts": {"denied": [pattern]}})

    assert bool(host_refusal(_policies(rules), host)) is matches


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("https://api.example.com/x", "api.example.com"),
        (" HTTP://api.example.com:8080", "api.example.com"),
        ("https://user:pass@api.example.com/", "api.example.com"),
        ("https://api.example.com\\@evil.com/", "api.example.com"),
        ("https://api.example.com?x=${{ input.x }}", "api.example.com"),
        ("https://${{ input.host }}/x", None),
        ("https://api.${{ input.domain }}/x", None),
        ("no url", None),
        ("https:///nothing", None),
        ("https://[::1]:80/", "[::1]"),
    ],
)
def test_the_host_of_a_literal_url_is_found(url: str, host: str | None) -> None:
    assert host_of(url) == host


def test_only_fields_that_are_called_urls_are_looked_at() -> None:
    config = {"url": "https://a.com", "hook_URL": "https://b.com", "text": "https://c.com", "n": 1}

    assert hosts_in(config) == [("url", "a.com"), ("hook_URL", "b.com")]


@pytest.mark.parametrize(
    "wrong",
    [
        {"typo": 1},
        {"hosts": {"allowed": ["https://a.com/"]}},
        {"hosts": {"denied": ["a.*.com"]}},
        {"max_runs": [{"count": 0, "window_seconds": 1}]},
        {"budgets": [{"name": "x", "limit": -1}]},
        {"needs_approval": {"approvers": ["nobody"]}},
    ],
)
def test_what_makes_no_sense_is_no_policy(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        PolicyRules.model_validate(wrong)


@given(st.text(max_size=30))
def test_spelling_a_host_plainly_twice_changes_nothing(text: str) -> None:
    once = plain_host(text)

    assert plain_host(once) == once


@pytest.mark.parametrize(
    "text", ["[2606:4700:0:0::1111]", "2606:4700:0:0:0:0:0:1111", "2606:4700::1111"]
)
def test_an_ipv6_address_has_one_spelling(text: str) -> None:
    assert plain_host(text) == "2606:4700::1111"
