"""A real Elasticsearch's security decides who may do what with endpoints, and the proxy reports it alike."""

from collections.abc import AsyncIterator, Iterator

import pytest
from multidict import CIMultiDict

from rerank_proxy.app.apis.changes import Who, named
from rerank_proxy.settings import SearchSettings, UpstreamSettings
from rerank_proxy.upstream import privileges
from rerank_proxy.upstream.client import ElasticsearchClient
from rerank_proxy.upstream.privileges import (
    DELETE_ENDPOINT,
    GET_ENDPOINT,
    PUT_ENDPOINT,
    RUN_INFERENCE,
    START_DEPLOYMENT,
    UPDATE_ENDPOINT,
    Action,
    DeniedError,
    Privileges,
    denial,
)
from rerank_proxy.upstream.protocol import UpstreamRefusedError
from testbed import RunningElasticsearch, Server
from testbed.http import basic
from testbed.node import SERVICE_TOKEN
from tests.support.accounts import PASSWORD, SERVICE, account
from tests.support.search_app import search_app
from tests.support.searches import reranking

pytestmark = pytest.mark.every_version

ACTIONS = [value for value in vars(privileges).values() if isinstance(value, Action)]


class Asking:
    """`Privileges` as the application uses it."""

    def __init__(self, url: str) -> None:
        self._client = ElasticsearchClient(UpstreamSettings(url=url), SearchSettings())
        self._privileges = Privileges()

    async def require(self, action: Action, authorization: str | None, **headers: str) -> None:
        sent = CIMultiDict(headers)
        if authorization is not None:
            sent["Authorization"] = authorization
        sent["Content-Type"] = "application/json"
        await self._privileges.require(self._client.for_caller(sent), action)

    async def who(self, authorization: str | None) -> Who:
        sent = CIMultiDict({} if authorization is None else {"Authorization": authorization})
        return await named(self._client.for_caller(sent))

    async def may(self, action: Action, authorization: str) -> bool:
        try:
            await self.require(action, authorization)
        except DeniedError:
            return False
        return True

    async def close(self) -> None:
        await self._client.close()


@pytest.fixture
async def asking(secured: RunningElasticsearch) -> AsyncIterator[Asking]:
    asking = Asking(secured.url)
    yield asking
    await asking.close()


MANAGING = (PUT_ENDPOINT, UPDATE_ENDPOINT, DELETE_ENDPOINT)
READING = (GET_ENDPOINT, RUN_INFERENCE)


@pytest.mark.parametrize(
    ("user", "allowed"),
    [
        ("nobody", ()),
        ("reader", ()),
        ("monitor_inference", READING),
        ("manage_inference", (*READING, *MANAGING, START_DEPLOYMENT)),
        ("monitor", READING),
        ("manage", (*READING, *MANAGING, START_DEPLOYMENT)),
        ("manage_ml", (START_DEPLOYMENT,)),
        ("put_only", (PUT_ENDPOINT,)),
        ("elastic", (*READING, *MANAGING, START_DEPLOYMENT)),
    ],
)
async def test_who_may_do_what(asking: Asking, user: str, allowed: tuple[Action, ...]) -> None:
    actions = (*READING, *MANAGING, START_DEPLOYMENT)
    may = [action for action in actions if await asking.may(action, basic(user, PASSWORD))]
    assert may == [action for action in actions if action in allowed]


async def test_run_as_is_heeded(asking: Asking) -> None:
    impersonator = basic("impersonator", PASSWORD)
    with pytest.raises(DeniedError):
        await asking.require(PUT_ENDPOINT, impersonator)
    await asking.require(PUT_ENDPOINT, impersonator, **{"es-security-runas-user": "manage_inference"})
    with pytest.raises(UpstreamRefusedError) as raised:
        await asking.require(PUT_ENDPOINT, impersonator, **{"es-security-runas-user": "manage"})
    assert raised.value.reply.status == 403


@pytest.mark.parametrize("authorization", [None, basic("elastic", "wrong"), "ApiKey bm86bm8="])
async def test_an_unknown_caller_gets_elasticsearchs_own_answer(
    asking: Asking, authorization: str | None
) -> None:
    with pytest.raises(UpstreamRefusedError) as raised:
        await asking.require(GET_ENDPOINT, authorization)
    reply = raised.value.reply
    assert reply.status == 401
    assert b"security_exception" in reply.body
    assert "www-authenticate" in {name.lower() for name, _ in reply.headers}


@pytest.mark.parametrize("user", ["nobody", "two_roles", "manage_ml"])
def test_the_words_are_elasticsearchs(secured: RunningElasticsearch, user: str) -> None:
    """The action is one that this Elasticsearch has and refuses itself."""
    native = account(secured.server, user).call("GET", "/_cluster/health")
    caller = account(secured.server, user).call("GET", "/_security/_authenticate").json()
    ours = denial(Action("cluster:monitor/health", ("monitor", "manage", "all")), caller)
    assert (native.status, native.json()) == (ours.status, ours.body())


def _built_in(server: Server) -> list[str]:
    """Return Elasticsearch's cluster privileges, in the order in which it names them."""
    reply = server.call("POST", "/_security/user/_has_privileges", {"cluster": ["no such privilege"]})
    names: str = reply.json()["error"]["reason"].partition("privilege names [")[2].partition("]")[0]
    return names.split(",")


async def test_the_privileges_that_grant_an_action_are_named_as_elasticsearch_names_them(
    secured: RunningElasticsearch, asking: Asking
) -> None:
    built_in = _built_in(secured.server)
    for action in ACTIONS:
        assert [name for name in built_in if name in action.granted_by] == list(action.granted_by)
    for privilege in ("monitor_inference", "manage_inference", "monitor", "manage", "manage_ml"):
        granted = {action for action in ACTIONS if await asking.may(action, basic(privilege, PASSWORD))}
        assert granted == {action for action in ACTIONS if privilege in action.granted_by}


async def test_a_line_about_a_change_names_its_caller(asking: Asking) -> None:
    user = await asking.who(basic("two_roles", PASSWORD))
    assert (user.words, user.user, user.api_key) == ("user [two_roles]", "two_roles", None)
    assert (await asking.who(SERVICE)).user == SERVICE_TOKEN.rpartition("/")[0]
    assert (await asking.who(basic("two_roles", "wrong"))).user is None


async def test_without_security_every_caller_may_do_everything(elasticsearch: RunningElasticsearch) -> None:
    asking = Asking(elasticsearch.url)
    for action in ACTIONS:
        await asking.require(action, None)
    assert (await asking.who(None)).words == "a caller without a name: upstream has no security"
    await asking.close()


class TestSearches:
    """A reranked search needs what native needs: to read the endpoint."""

    @pytest.fixture
    def index(self, secured: RunningElasticsearch) -> Iterator[str]:
        name = "privileges"
        call = secured.server.call
        assert call("PUT", f"/{name}/_doc/0?refresh=true", {"text": "a 1"}).status == 201
        yield name
        call("DELETE", f"/{name}")

    async def test_a_caller_who_may_only_read_the_index_is_refused(
        self, secured: RunningElasticsearch, index: str
    ) -> None:
        async with search_app(secured.url, check_privileges=True) as app:
            for user, status in (("reader", 403), ("two_roles", 200)):
                headers = {"Authorization": basic(user, PASSWORD)}
                answer = await app.search(index, reranking(), headers=headers)
                assert answer.status == status, answer.body
                if status == 403:
                    assert answer.cause["reason"].startswith(
                        "action [cluster:monitor/xpack/inference/get] is unauthorized for user [reader]"
                    )
                    assert app.engine.asked == []

    async def test_the_refusal_has_the_headers_of_elasticsearchs(
        self, secured: RunningElasticsearch, index: str
    ) -> None:
        """These name no product: only who is let in is told what answers."""
        headers = {"Authorization": basic("reader", PASSWORD), "Accept-Encoding": "identity"}
        direct = Server(secured.url, headers["Authorization"]).call("PUT", "/privileges-none")
        async with search_app(secured.url, check_privileges=True) as app:
            ours = await app.search(index, reranking(), headers=headers)
        assert (ours.status, direct.status) == (403, 403)
        assert {name.lower() for name in ours.headers} == {name.lower() for name in direct.headers}

    async def test_a_reranker_may_do_without(self, secured: RunningElasticsearch, index: str) -> None:
        headers = {"Authorization": basic("reader", PASSWORD)}
        async with search_app(secured.url, check_privileges=True) as app:
            answer = await app.search(index, reranking(allow_rerank_failures=True), headers=headers)
            assert answer.status == 200
            assert answer.headers["X-Rerank"].endswith("reason=security_exception")

    async def test_it_may_be_switched_off(self, secured: RunningElasticsearch, index: str) -> None:
        headers = {"Authorization": basic("reader", PASSWORD)}
        async with search_app(secured.url, check_privileges=False) as app:
            assert (await app.search(index, reranking(), headers=headers)).status == 200
