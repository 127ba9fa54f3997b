import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.core.errors import ConfigurationError
from app.engine.egress.policy import build_policy, is_public

DENIED = [
    "0.0.0.0", "0.1.2.3", "10.0.0.1", "100.64.0.1", "100.100.100.200", "127.0.0.1", "127.255.255.254",
    "168.63.129.16", "169.254.169.254", "172.16.0.1", "172.31.255.255", "192.0.0.192", "192.0.2.1", "192.88.99.1",
    "192.168.1.1", "198.18.0.1", "198.51.100.1", "203.0.113.1", "224.0.0.1", "239.255.255.255", "240.0.0.1",
    "255.255.255.255", "::", "::1", "::127.0.0.1", "::ffff:127.0.0.1", "::ffff:8.8.8.8", "64:ff9b::7f00:1",
    "64:ff9b::808:808", "64:ff9b:1::1", "100::1", "2001::1", "2001:0:4136:e378:8000:63bf:3fff:fdd2", "2001:db8::1",
    "2001:10::1", "2002:7f00:1::", "2002:a00:1::1", "3fff::1", "5f00::1", "fc00::1", "fd00:ec2::254", "fe80::1",
    "fe80::1%eth0", "2606:4700::1%eth0", "fec0::1", "ff02::1",
]  # fmt: skip


@pytest.mark.parametrize("text", DENIED)
def test_an_inner_or_embedding_address_is_denied(text: str) -> None:
    assert not is_public(ipaddress.ip_address(text))


@pytest.mark.parametrize(
    "text",
    ["1.1.1.1", "8.8.8.8", "100.63.255.255", "172.32.0.1", "2606:4700::1111", "2a00:1450::1"],
)
def test_a_public_address_is_permitted(text: str) -> None:
    assert is_public(ipaddress.ip_address(text))


@given(st.ip_addresses())
def test_nothing_is_public_that_the_standard_library_calls_inner(
    address: ipaddress.IPv4Address | ipaddress.IPv6Address,
) -> None:
    inner = not address.is_global or address.is_multicast or address.is_reserved

    assert not (is_public(address) and inner)


def permits(allow: list[str], host: str, *addresses: str, port: int = 80) -> bool:
    found = [ipaddress.ip_address(address) for address in addresses]
    return build_policy(allow).permits(host, port, found)


def test_one_inner_answer_among_public_ones_denies_the_host() -> None:
    assert not permits([], "example.com", "1.1.1.1", "10.0.0.1")


def test_a_host_without_an_address_is_denied() -> None:
    assert not permits(["example.com"], "example.com")


def test_an_opened_range_is_permitted_and_its_neighbour_is_not() -> None:
    assert permits(["10.1.0.0/16"], "a.test", "10.1.2.3")
    assert not permits(["10.1.0.0/16"], "a.test", "10.2.0.1")


def test_an_opened_range_does_not_open_its_v4_mapped_form() -> None:
    assert not permits(["127.0.0.0/8"], "a.test", "::ffff:127.0.0.1")


@pytest.mark.parametrize("entry", ["db.corp", "DB.corp", "db.corp.", " db.corp "])
@pytest.mark.parametrize("host", ["db.corp", "db.CORP", "db.corp."])
def test_an_opened_name_matches_whatever_its_case_and_final_dot(entry: str, host: str) -> None:
    assert permits([entry], host, "10.0.0.1")


@pytest.mark.parametrize("host", ["x.db.corp", "db.corp.evil.com", "db", "corp", "xdb.corp"])
def test_an_opened_name_opens_no_other_name(host: str) -> None:
    assert not permits(["db.corp"], host, "10.0.0.1")


@pytest.mark.parametrize("entry", ["db.corp:8080", "10.0.0.1:8080"])
def test_an_entry_with_a_port_opens_that_port_alone(entry: str) -> None:
    assert permits([entry], "db.corp", "10.0.0.1", port=8080)
    assert not permits([entry], "db.corp", "10.0.0.1", port=80)


@pytest.mark.parametrize(
    ("entry", "address"),
    [("::1", "::1"), ("[::1]", "::1"), ("[fd00::1]:80", "fd00::1"), ("fd00::/8", "fd12::1")],
)
def test_an_ipv6_entry_may_have_brackets_and_a_port(entry: str, address: str) -> None:
    assert permits([entry], "a.test", address)


@pytest.mark.parametrize(
    "entry",
    [
        "", "10.0.0.0/33", "10.0.0", "10.0.0.1.5", "256.0.0.1", "0x7f.1", "http://db.corp", "db.corp/x", "*.corp", "*",
        "db corp", "db..corp", "-db.corp", "db.corp:http", "db.corp:0", "db.corp:65536", "fe80::1%eth0", "[::1",
        "bücher.example", "10.0.0.0-10.0.0.9", "user@db.corp",
    ],
)  # fmt: skip
def test_a_misspelt_entry_is_named_in_a_configuration_error(entry: str) -> None:
    with pytest.raises(ConfigurationError, match="EGRESS_ALLOW") as caught:
        build_policy(["10.0.0.0/8", entry])

    assert repr(entry) in caught.value.detail


def test_a_range_with_host_bits_is_refused_with_the_range_it_may_mean() -> None:
    with pytest.raises(ConfigurationError, match=r"write 10\.0\.0\.0/8 for the range"):
        build_policy(["10.0.0.1/8"])
