"""What is public, by the registries and not by the version of Python."""

import ipaddress
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rerank_proxy.inference.remote.special_addresses import SPECIAL_V4, SPECIAL_V6, is_public, literal

V4 = [
    "0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12",
    "192.0.0.0/24", "192.0.0.0/29", "192.0.0.8/32", "192.0.0.9/32", "192.0.0.10/32",
    "192.0.0.170/32", "192.0.0.171/32", "192.0.2.0/24", "192.31.196.0/24", "192.52.193.0/24",
    "192.88.99.0/24", "192.168.0.0/16", "192.175.48.0/24", "198.18.0.0/15", "198.51.100.0/24",
    "203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4", "255.255.255.255/32",
]  # fmt: skip
V6 = [
    "::1/128", "::/128", "::/96", "::ffff:0:0:0/96", "64:ff9b:1::/48", "100::/64", "100:0:0:1::/64",
    "2001::/23", "2001::/32", "2001:1::1/128", "2001:1::2/128", "2001:1::3/128", "2001:2::/48",
    "2001:3::/32", "2001:4:112::/48", "2001:10::/28", "2001:20::/28", "2001:30::/28",
    "2001:db8::/32", "2620:4f:8000::/48", "3fff::/20", "5f00::/16", "fc00::/7", "fe80::/10",
    "fec0::/10", "ff00::/8", "4000::/2", "8000::/1", "1::/16",
]  # fmt: skip
ISSUED = [
    "192.0.0.192",
    "192.0.0.8",
    "64:ff9b:1::1",
    "::8.8.8.8",
    "::ffff:0:8.8.8.8",
    "fec0::1",
    "192.88.99.1",
]
PUBLIC = [
    "1.1.1.1", "8.8.8.8", "9.255.255.255", "11.0.0.0", "100.63.255.255", "100.128.0.0",
    "126.255.255.255", "128.0.0.0", "169.253.255.255", "169.255.0.0", "172.15.255.255",
    "172.32.0.0", "191.255.255.255", "192.0.1.0", "192.0.3.0", "192.88.98.255", "192.88.100.0",
    "192.167.255.255", "192.169.0.0", "198.17.255.255", "198.20.0.0", "198.51.99.255",
    "198.51.101.0", "203.0.112.255", "203.0.114.0", "223.255.255.255", "2001:200::",
    "2001:db7:ffff::", "2001:db9::", "2003::", "2600::", "2606:4700::1111", "2620:4f:7fff::",
    "2620:4f:8001::", "3ffe:ffff::", "3fff:1000::", "64:ff9b::808:808", "::ffff:8.8.8.8",
    "2002:808:808::",
]  # fmt: skip


def public(text: str) -> bool:
    return is_public(ipaddress.ip_address(text))


@pytest.mark.parametrize("network", [*V4, *V6])
def test_special_networks(network: str) -> None:
    """Their first, last and a middle address."""
    first, last = (int(ipaddress.ip_network(network)[at]) for at in (0, -1))
    make = ipaddress.IPv6Address if ":" in network else ipaddress.IPv4Address
    for value in (first, (first + last) // 2, last):
        assert not is_public(make(value))


@pytest.mark.parametrize("address", ISSUED)
def test_addresses_that_were_taken_for_public(address: str) -> None:
    assert not public(address)


@pytest.mark.parametrize("address", PUBLIC)
def test_public_addresses(address: str) -> None:
    assert public(address)


@pytest.mark.parametrize("form", ["::ffff:{}", "64:ff9b::{}"])
@given(address=st.ip_addresses(v=4))
def test_an_address_within_another_counts_for_itself(form: str, address: ipaddress.IPv4Address) -> None:
    assert public(form.format(address)) == is_public(address)


@given(st.ip_addresses(v=4))
def test_an_address_within_6to4_counts_for_itself(address: ipaddress.IPv4Address) -> None:
    within = ipaddress.IPv6Address((0x2002 << 112) | (int(address) << 80))
    assert is_public(within) == is_public(address)


@given(st.ip_addresses(v=6))
def test_nothing_is_public_that_python_calls_private(address: ipaddress.IPv6Address) -> None:
    embeds = address in ipaddress.ip_network("64:ff9b::/96") or address.sixtofour or address.ipv4_mapped
    assert embeds or address.is_global or not is_public(address)


@pytest.mark.parametrize("zone", ["eth0", "1", "25eth0"])
def test_an_address_of_one_link_is_never_public(zone: str) -> None:
    assert not public(f"2606:4700::1111%{zone}")


def test_the_tables_do_not_overlap() -> None:
    for table in (SPECIAL_V4, SPECIAL_V6):
        spans = sorted((int(network[0]), int(network[-1])) for network in table)
        assert all(last < first for (_, last), (first, _) in pairwise(spans))


@pytest.mark.parametrize("name", ["localhost", "a", "a1", "1a", "0x7f.com", "10.0.0.1.nip.io", "1.2.3.4a"])
def test_names(name: str) -> None:
    assert literal(name) is None
