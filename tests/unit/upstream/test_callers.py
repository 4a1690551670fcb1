"""Callers are told apart by what they show Elasticsearch, of which nothing is kept."""

import asyncio

import pytest
from multidict import CIMultiDict

from rerank_proxy.upstream.callers import CallerDigests, authenticate, current, enter
from rerank_proxy.upstream.protocol import Reply, UpstreamRefusedError

BASIC = ("Authorization", "Basic c2VjcmV0")


def test_the_same_credentials_are_the_same_caller() -> None:
    callers = CallerDigests()
    one = CIMultiDict([BASIC, ("X-Opaque-Id", "1"), ("Host", "a")])
    other = CIMultiDict([("host", "b"), ("authorization", BASIC[1])])
    assert callers.of(one) == callers.of(other)
    assert callers.of(CIMultiDict()) == callers.of(CIMultiDict([("Host", "a")]))


@pytest.mark.parametrize(
    "spelt",
    [
        [("Authorization", "bASIC c2VjcmV0")],
        [("Authorization", "  Basic \t c2VjcmV0 ")],
        [BASIC, BASIC],
        [BASIC, ("authorization", "BASIC c2VjcmV0")],
    ],
)
def test_another_spelling_is_no_other_caller(spelt: list[tuple[str, str]]) -> None:
    """Else one caller had as many parts of the device as there are spellings."""
    callers = CallerDigests()
    assert callers.of(CIMultiDict(spelt)) == callers.of(CIMultiDict([BASIC]))


def test_base64_and_the_order_of_headers_make_no_other_caller() -> None:
    callers = CallerDigests()
    key, user = ("Authorization", "ApiKey dTpwcA=="), ("es-security-runas-user", "a")
    one = callers.of(CIMultiDict([key, user]))
    for text in ("dTpwcA", "dTpwcB==", "dTpwcP"):
        assert callers.of(CIMultiDict([user, (key[0], f"apikey {text}")])) == one


def test_others_are_others() -> None:
    lists = [
        [],
        [BASIC],
        [("Authorization", "")],
        [("Authorization", BASIC[1] + "=")],
        [("Authorization", BASIC[1].lower())],
        [BASIC, ("es-security-runas-user", "a")],
        [BASIC, ("es-security-runas-user", "b")],
        [("es-security-runas-user", "a")],
        [BASIC, ("es-secondary-authorization", "Basic x")],
        [("Authorization", BASIC[1].replace("Basic", "ApiKey"))],
        [("Authorization", BASIC[1].replace("Basic", "Bearer"))],
        [BASIC, ("Authorization", "Basic x")],
        [("Authorization", "Basic x"), BASIC],
        [("Authorization", "Basic \udce9")],
    ]
    callers = CallerDigests()
    assert len({callers.of(CIMultiDict(headers)) for headers in lists}) == len(lists)


def test_digests_say_nothing_outside_of_their_process() -> None:
    headers = CIMultiDict([BASIC])
    assert CallerDigests().of(headers) != CallerDigests().of(headers)


def test_digests_are_the_same_in_processes_with_the_same_secret() -> None:
    headers = CIMultiDict([BASIC])
    assert CallerDigests(b"a").of(headers) == CallerDigests(b"a").of(headers)
    assert CallerDigests(b"a").of(headers) != CallerDigests(b"b").of(headers)


async def test_the_current_caller_is_that_of_the_task_and_of_those_it_starts() -> None:
    async def seen(caller: bytes) -> tuple[bytes, bytes]:
        enter(lambda: caller)
        await asyncio.sleep(0)
        return current(), await asyncio.create_task(started())

    async def started() -> bytes:
        return current()

    assert [*await asyncio.gather(seen(b"a"), seen(b"b"))] == [(b"a", b"a"), (b"b", b"b")]
    assert current() == b""


class Security:
    """Elasticsearch, as far as it looks at credentials."""

    caller = b"the test"

    def __init__(self, status: int) -> None:
        self._status = status
        self.asked: list[tuple[str, str, bytes]] = []

    async def request(self, method: str, target: str, body: bytes) -> Reply:
        self.asked.append((method, target, body))
        return Reply(self._status, [("WWW-Authenticate", "Basic")], b"{}")


@pytest.mark.parametrize("status", [200, 400, 403, 404, 405, 500])
async def test_callers_pass_where_elasticsearch_lets_them(status: int) -> None:
    security = Security(status)
    await authenticate(security)
    assert security.asked == [("GET", "/_security/_authenticate", b"")]


async def test_bad_credentials_get_elasticsearchs_answer() -> None:
    with pytest.raises(UpstreamRefusedError) as raised:
        await authenticate(Security(401))
    assert raised.value.reply == Reply(401, [("WWW-Authenticate", "Basic")], b"{}")
