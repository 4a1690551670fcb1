"""A caller unknown to Elasticsearch gets its error, about the very request that the caller sent."""

import json
from collections.abc import AsyncIterator
from typing import Any, Final

import pytest
from multidict import CIMultiDictProxy

from testbed import RunningElasticsearch
from testbed.http import basic
from tests.support.accounts import PASSWORD
from tests.support.inference import ASKED, NEW
from tests.support.search_app import TWO_STAGES, SearchApp, search_app
from tests.support.searches import reranking

pytestmark = pytest.mark.every_version

CREDENTIALS: Final[dict[str, str | None]] = {
    "none": None,
    "a wrong password": basic("elastic", "wrong"),
    "a strange name": basic('x] for REST request [/y"', "z"),
    "no scheme": "nonsense",
    "a key": "ApiKey eDp5",
    "a token": "Bearer abc",
}
SEARCH: Final = json.dumps(reranking()).encode()
MANY: Final = b'{}\n%b\n{"index":"i"}\n%b\n' % (SEARCH, SEARCH)
TEMPLATE: Final = json.dumps({"source": reranking(), "params": {}}).encode()
REQUESTS: Final[tuple[tuple[str, str, bytes], ...]] = (
    ("GET", "/_inference", b""),
    ("GET", "/_inference/rerank/a%20b?human&pretty", b""),
    ("PUT", "/_inference/rerank/mine?timeout=5s", json.dumps(NEW).encode()),
    ("PUT", "/_inference/mine/_update", json.dumps(NEW).encode()),
    ("POST", "/_inference/mine", json.dumps(ASKED).encode()),
    ("DELETE", "/_inference/mine?force", b""),
    ("GET", "/_inference/_services/rerank/", b""),
    ("POST", "/i,j/_search?size=1&pretty", SEARCH),
    ("POST", f"/_search?{TWO_STAGES}", SEARCH),
    ("POST", "/i/_msearch?max_concurrent_searches=1", MANY),
    ("POST", "/i/_search/template", TEMPLATE),
    ("POST", "/_async_search?size=1", SEARCH),
    ("GET", "/_async_search/rerank.AAAA?keep_alive=1m", b""),
    ("DELETE", "/_async_search/rerank.AAAA", b""),
)


@pytest.fixture
async def app(secured: RunningElasticsearch) -> AsyncIterator[SearchApp]:
    async with search_app(secured.url, check_privileges=True) as serving:
        yield serving


@pytest.mark.parametrize("credentials", CREDENTIALS.values(), ids=CREDENTIALS.keys())
async def test_who_it_is(app: SearchApp, secured: RunningElasticsearch, credentials: str | None) -> None:
    headers = {} if credentials is None else {"Authorization": credentials}
    for method, target, body in REQUESTS:
        ours = await app.call(method, target, body, headers=headers)
        if ours.status == 421:  # upstream is asked, and tells it itself
            assert "template" in target
            continue
        sent = {"Content-Type": "application/json", **headers}
        async with app.session.request(method, secured.url + target, data=body, headers=sent) as reply:
            told = reply.status, comparable(await reply.read()), challenges(reply.headers)
        assert (target, ours.status, comparable(ours.body), challenges(ours.headers)) == (target, *told)


def comparable(body: bytes) -> tuple[Any, int]:
    """Return the answer with its printed length; Elasticsearch names ways to authenticate in any order."""
    error = json.loads(body)["error"]
    for each in (error, *error["root_cause"]):
        each["header"]["WWW-Authenticate"].sort()
    return error, len(body)


def challenges(headers: CIMultiDictProxy[str]) -> list[str]:
    return sorted(headers.getall("WWW-Authenticate"))


async def test_a_caller_who_may_not_run_as_another_user(app: SearchApp) -> None:
    """The error names the action of the request, not the action by which the proxy asked."""
    headers: dict[str, Any] = {
        "Authorization": basic("reader", PASSWORD),
        "es-security-runas-user": "manage_inference",
    }
    answer = await app.call("GET", "/_inference/mine", headers=headers)
    assert answer.status == 403
    assert answer.json()["error"]["reason"] == (
        "action [cluster:monitor/xpack/inference/get] is unauthorized for user [reader] with effective roles "
        "[reader], because user [reader] is unauthorized to run as [manage_inference]"
    )
