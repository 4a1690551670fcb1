"""Which servers endpoints may call, by name and by address."""

import socket
from collections.abc import Sequence

import pytest
from aiohttp.abc import AbstractResolver, ResolveResult

from rerank_proxy.inference.remote.addresses import (
    GuardedResolver,
    HostNotAllowedError,
    HostRules,
    PrivateAddressError,
)
from rerank_proxy.settings import RemoteSettings

VENDOR = ("api.vendor.com", "*.vendor.cloud")


def refusal(
    url: str, *allowed: str, private: bool = False, service: str = "vendor", **urls: str
) -> str | None:
    settings = RemoteSettings(
        allowed_hosts=allowed or ("vendors",), allow_private_addresses=private, base_urls=urls
    )
    try:
        HostRules(settings).check(url, service, VENDOR)
    except HostNotAllowedError as refused:
        return str(refused)
    return None


@pytest.mark.parametrize(
    "url",
    [
        "https://api.vendor.com/v1/rerank",
        "http://api.vendor.com:8080",
        "https://API.Vendor.com./x",
        "https://a.vendor.cloud",
        "https://a.b.vendor.cloud",
    ],
)
def test_a_vendors_own_hosts(url: str) -> None:
    assert refusal(url) is None


@pytest.mark.parametrize(
    "url",
    [
        "https://vendor.com",
        "https://vendor.cloud",
        "https://api.vendor.com.evil.com",
        "https://evilvendor.cloud",
        "https://api.vendor.com%40evil.com",
        "https://evil.com/api.vendor.com",
        "https://evil.com#api.vendor.com",
        "https://evil.com?api.vendor.com",
    ],
)
def test_other_hosts(url: str) -> None:
    assert (refusal(url) or "").endswith(
        ("is not in [remote.allowed_hosts]", "this is not a URL", "nor an address in its usual form")
    )


def test_the_list_is_the_operators() -> None:
    assert refusal("https://api.vendor.com", "tei.corp.com") is not None
    assert refusal("https://tei.corp.com", "tei.corp.com") is None
    assert refusal("https://tei.corp.com", "vendors", "*.corp.com") is None
    assert refusal("https://anything.org", "*") is None


def test_what_stands_in_place_of_a_vendor_is_allowed_for_its_service() -> None:
    assert refusal("http://gateway.corp/x", vendor="http://gateway.corp/base") is None
    assert refusal("http://gateway.corp/x", service="other", vendor="http://gateway.corp/base") is not None


@pytest.mark.parametrize("url", ["ftp://api.vendor.com", "api.vendor.com", "/v1", "https://", "https://[::1"])
def test_what_is_not_a_url(url: str) -> None:
    assert refusal(url, "*") is not None


def test_credentials_in_a_url() -> None:
    assert refusal("https://me:pw@api.vendor.com") == "a URL must not hold credentials"


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "10.1.2.3",
        "192.168.0.1",
        "172.16.0.1",
        "169.254.169.254",
        "100.64.0.1",
        "0.0.0.0",
        "224.0.0.1",
        "[::1]",
        "[::]",
        "[fe80::1]",
        "[fd00::1]",
        "[::ffff:127.0.0.1]",
        "[64:ff9b::7f00:1]",
        "[2002:7f00:1::]",
    ],
)
def test_private_addresses(host: str) -> None:
    assert "is not a public address" in (refusal(f"http://{host}:9200", "*") or "")
    assert refusal(f"http://{host}:9200", "*", private=True) is None


@pytest.mark.parametrize("host", ["8.8.8.8", "[2606:4700::1111]", "[64:ff9b::808:808]"])
def test_public_addresses(host: str) -> None:
    assert refusal(f"http://{host}", "*") is None


UNUSUAL = [
    "127.1", "127.0.1", "2130706433", "017700000001", "0x7f000001", "0x7f.1", "0X7F.0.0.1",
    "127.0.0.0x1", "0177.0.0.1", "010.0.0.1", "8.8.8.8.8", "8.8.8.256", "8.8.8.", "1", "0", "0x",
    "a.1", "example.0x7f", "127.0.0.1..", "127..1", ".127.0.0.1", "%31%32%37.0.0.1", "127.0.0.1%00",
    "127.0.0.1%00.a.com", "a..b", ".a", "-a.com", "a-.com", "a b.com", "a,b.com", "a$b",
    "[::1%25lo]", "[fe80::1%25eth0]", "[2606:4700::1111%25eth0]", "a\\b", "a\tb", "a\x7f", "\x00",
    "a" * 64 + ".com", "a." * 130 + "com",
]  # fmt: skip


@pytest.mark.parametrize("host", UNUSUAL)
def test_hosts_in_an_unusual_form(host: str) -> None:
    """Resolvers and libraries read these in one way or another; none of them is dialled to find out."""
    assert refusal(f"http://{host}:9200/x", "*") is not None


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1.", "\uff11\uff12\uff17.0.0.1", "127\u30020\u30020\u30021", "[::FFFF:127.0.0.1]", "[0:0::1]"],
)
def test_other_spellings_of_private_addresses(host: str) -> None:
    assert "is not a public address" in (refusal(f"http://{host}/x", "*") or "")


def test_a_fragment() -> None:
    assert refusal("https://api.vendor.com/x#y") == "a URL that is called must not have a fragment"


def test_a_host_that_people_are_not_shown_is_not_named() -> None:
    rules = HostRules(RemoteSettings())
    with pytest.raises(HostNotAllowedError, match=r"^its host is not in \[remote\.allowed_hosts\]$"):
        rules.check("https://s3cret.evil.com/x", "vendor", VENDOR, "https://${account}.evil.com/x")


class Names(AbstractResolver):
    """Resolves any name, to other addresses each time."""

    def __init__(self, *answers: Sequence[str]) -> None:
        self.answers = list(answers)

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        return [
            ResolveResult(hostname=host, host=address, port=port, family=family, proto=0, flags=0)
            for address in self.answers.pop(0)
        ]

    async def close(self) -> None:
        """Do nothing: nothing is open."""


async def test_a_name_that_comes_to_mean_this_machine() -> None:
    resolver = GuardedResolver(allow_private=False, inner=Names(["8.8.8.8"], ["127.0.0.1"], ["fe80::1%eth0"]))
    assert [each["host"] for each in await resolver.resolve("rebinding.com", 80)] == ["8.8.8.8"]
    for _ in range(2):
        with pytest.raises(PrivateAddressError) as raised:
            await resolver.resolve("rebinding.com", 80)
        assert raised.value.told("http://rebinding.com/x") == (
            "[rebinding.com] does not resolve to a public address; see [remote.allow_private_addresses]"
        )
        assert raised.value.told("http://${host}/x").startswith("its host does not resolve")


async def test_only_public_addresses_of_a_name_are_taken() -> None:
    resolver = GuardedResolver(allow_private=False, inner=Names(["10.0.0.1", "8.8.8.8", "::1"]))
    assert [each["host"] for each in await resolver.resolve("mixed.com", 80)] == ["8.8.8.8"]


async def test_private_addresses_may_be_allowed() -> None:
    resolver = GuardedResolver(allow_private=True, inner=Names(["10.0.0.1"]))
    assert [each["host"] for each in await resolver.resolve("internal", 80)] == ["10.0.0.1"]
