"""`_async_search` with a reranker: submitted, followed, fetched and deleted as Elasticsearch's own are."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from elasticsearch import AsyncElasticsearch, NotFoundError

from rerank_proxy.engine import QueueFullError
from testbed import RunningElasticsearch
from tests.live.conftest import MakeIndex
from tests.support.raw_http import TIMEOUT_S, Wire, raw_server
from tests.support.search_app import TWO_STAGES, Answer, SearchApp, search_app
from tests.support.searches import reranking

KEEP = "keep_on_completion=true"
SHORT, LONG = "wait_for_completion_timeout=1ms", "wait_for_completion_timeout=60s"
ME, YOU = {"Authorization": "ApiKey bWU="}, {"Authorization": "ApiKey eW91"}
DAY = 86_400_000


@pytest.fixture
async def app(elasticsearch: RunningElasticsearch) -> AsyncIterator[SearchApp]:
    async with search_app(elasticsearch.url) as serving:
        yield serving


@pytest.fixture
def crimes(make_index: MakeIndex) -> str:
    return make_index({"text": f"crime {n}"} for n in range(1, 5))


class Hold:
    """Holds searches open while their texts are scored."""

    def __init__(self, app: SearchApp) -> None:
        self.scoring, self.may_score, self.cancelled = asyncio.Event(), asyncio.Event(), asyncio.Event()
        app.engine.before = self._before

    async def _before(self) -> None:
        self.scoring.set()
        try:
            await self.may_score.wait()
        except asyncio.CancelledError:
            self.cancelled.set()
            raise


async def submit(app: SearchApp, index: str, query: str = LONG, body: Any = None, **how: Any) -> Answer:
    return await app.call("POST", f"/{index}/_async_search?{query}", body or reranking(), **how)


async def get(app: SearchApp, search: str, query: str = "", method: str = "GET", **how: Any) -> Answer:
    return await app.call(method, f"/_async_search/{search}?{query}", **how)


def without_took(response: dict[str, Any]) -> dict[str, Any]:
    return {**response, "took": None}


def not_found(search: str) -> dict[str, Any]:
    cause = {"type": "resource_not_found_exception", "reason": search}
    return {"error": {"root_cause": [cause], **cause}, "status": 404}


class TestCompleted:
    @pytest.mark.every_version
    @pytest.mark.parametrize("path", ["", TWO_STAGES])
    async def test_the_response_is_the_searchs_answer(self, app: SearchApp, crimes: str, path: str) -> None:
        answer = await submit(app, crimes, f"{LONG}&{path}")
        assert answer.status == 200
        body = answer.json()
        assert list(body) == [
            "is_partial", "is_running", "start_time_in_millis", "expiration_time_in_millis",
            "completion_time_in_millis", "response",
        ]  # fmt: skip
        assert (body["is_partial"], body["is_running"]) == (False, False)
        assert body["expiration_time_in_millis"] - body["start_time_in_millis"] == 5 * DAY
        plain = await app.search(crimes, reranking(), path)
        assert [hit["_id"] for hit in body["response"]["hits"]["hits"]] == ["3", "2", "1", "0"]
        assert without_took(body["response"]) == without_took(plain.json())
        assert answer.headers["X-Rerank"].startswith("applied; ")
        assert answer.headers["X-Elasticsearch-Async-Is-Running"] == "?0"
        assert "X-Elasticsearch-Async-Id" not in answer.headers
        assert answer.headers["X-elastic-product"] == "Elasticsearch"
        assert answer.headers["content-type"] == "application/json"

    async def test_it_is_kept_when_the_client_wants_it(self, app: SearchApp, crimes: str) -> None:
        first = await submit(app, crimes, f"{LONG}&{KEEP}", headers={"X-Opaque-Id": "7"})
        search = first.json()["id"]
        assert first.headers["X-Elasticsearch-Async-Id"] == search
        assert first.headers["X-Opaque-Id"] == "7"
        again = await get(app, search)
        assert again.body == first.body
        assert again.headers["X-Elasticsearch-Async-Id"] == search
        assert again.headers["X-Rerank"] == first.headers["X-Rerank"]
        assert "X-Opaque-Id" not in again.headers
        status = await app.call("GET", f"/_async_search/status/{search}")
        times = {name: value for name, value in first.json().items() if "time" in name}
        assert status.json() == {
            "id": search,
            "is_running": False,
            "is_partial": False,
            **times,
            "_shards": {"total": 1, "successful": 1, "skipped": 0, "failed": 0},
            "completion_status": 200,
        }

    async def test_each_request_says_how_it_is_printed(self, app: SearchApp, crimes: str) -> None:
        plain = await submit(app, crimes, f"{LONG}&{KEEP}&pretty")
        search = plain.json()["id"]
        assert plain.body.startswith(b'{\n  "id" : "rerank.')
        assert (await get(app, search, "pretty")).body == plain.body
        compact = await get(app, search)
        assert b"\n" not in compact.body
        assert compact.json() == plain.json()
        human = (await get(app, search, "human")).json()
        assert human["completion_time"].endswith("Z")
        assert human["completion_time_in_millis"] == plain.json()["completion_time_in_millis"]
        status = await app.call("GET", f"/_async_search/status/{search}?pretty&human")
        assert status.body.startswith(b'{\n  "id" : ')
        assert "start_time" in status.json()

    async def test_inner_searches_have_no_parameters_of_the_asynchronous_search(
        self, app: SearchApp, crimes: str
    ) -> None:
        query = f"{LONG}&{KEEP}&keep_alive=1d&pretty&typed_keys&size=2&{TWO_STAGES}"
        assert (await submit(app, crimes, query)).status == 200
        await app.executor.drain()
        assert app.upstream.sent[0] == "GET /_security/_authenticate"
        sent = " ".join(app.upstream.sent)
        assert "/_pit?keep_alive=60s" in sent
        for name in ("wait_for", "keep_on", "keep_alive=1d", "pretty"):
            assert name not in sent
        assert "typed_keys" in sent

    async def test_without_an_index(self, app: SearchApp, crimes: str) -> None:
        answer = await app.call("POST", f"/_async_search/?{LONG}&index={crimes}", reranking(), headers=ME)
        assert len(answer.json()["response"]["hits"]["hits"]) == 4


class TestRunning:
    @pytest.mark.parametrize(
        "wait", [SHORT, "wait_for_completion_timeout=0", "wait_for_completion_timeout=-1"]
    )
    async def test_it_is_followed_until_it_has_ended(self, app: SearchApp, crimes: str, wait: str) -> None:
        hold = Hold(app)
        answer = await submit(app, crimes, wait)
        body = answer.json()
        search = body["id"]
        assert answer.status == 200
        assert answer.headers["X-Elasticsearch-Async-Id"] == search
        assert answer.headers["X-Elasticsearch-Async-Is-Running"] == "?1"
        assert (body["is_partial"], body["is_running"]) == (True, True)
        assert body["response"]["hits"] == {
            "total": {"value": 0, "relation": "gte"},
            "max_score": None,
            "hits": [],
        }
        for query in ("", SHORT):
            assert (await get(app, search, query)).json()["is_running"] is True
        status = (await app.call("GET", f"/_async_search/status/{search}")).json()
        assert status["is_running"] is True
        assert "completion_status" not in status
        waiting = asyncio.create_task(get(app, search, LONG))
        await asyncio.wait_for(hold.scoring.wait(), TIMEOUT_S)
        hold.may_score.set()
        ended = await waiting
        assert ended.json()["is_running"] is False
        assert ended.json()["id"] == search
        plain = await app.search(crimes, reranking())
        assert without_took(ended.json()["response"]) == without_took(plain.json())

    async def test_a_total_of_one_number(self, app: SearchApp, crimes: str) -> None:
        hold = Hold(app)
        body = (await submit(app, crimes, f"{SHORT}&rest_total_hits_as_int=true")).json()
        assert body["response"]["hits"]["total"] == 0
        hold.may_score.set()
        assert (await get(app, body["id"], LONG)).json()["response"]["hits"]["total"] == 4

    async def test_to_delete_it_ends_it(self, app: SearchApp, crimes: str) -> None:
        hold = Hold(app)
        search = (await submit(app, crimes, f"{SHORT}&{TWO_STAGES}")).json()["id"]
        await asyncio.wait_for(hold.scoring.wait(), TIMEOUT_S)
        waiting = asyncio.create_task(get(app, search, LONG))
        deleted = await get(app, search, method="DELETE")
        assert (deleted.status, deleted.json()) == (200, {"acknowledged": True})
        await asyncio.wait_for(hold.cancelled.wait(), TIMEOUT_S)
        assert (await waiting).json() == not_found(search)
        await app.executor.drain()
        assert app.upstream.sent.count("DELETE /_pit") == 1

    async def test_a_client_that_leaves_before_it_has_an_id_ends_it(
        self, app: SearchApp, crimes: str
    ) -> None:
        hold = Hold(app)
        submitting = asyncio.create_task(submit(app, crimes, f"{LONG}&{KEEP}"))
        await asyncio.wait_for(hold.scoring.wait(), TIMEOUT_S)
        submitting.cancel()
        await asyncio.wait_for(hold.cancelled.wait(), TIMEOUT_S)

    async def test_a_client_that_leaves_later_does_not(self, app: SearchApp, crimes: str) -> None:
        hold = Hold(app)
        search = (await submit(app, crimes, SHORT)).json()["id"]
        await asyncio.wait_for(hold.scoring.wait(), TIMEOUT_S)
        waiting = asyncio.create_task(get(app, search, LONG))
        await get(app, search)  # the other has been sent by now
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        assert (await get(app, search, SHORT)).json()["is_running"] is True
        hold.may_score.set()
        assert (await get(app, search, LONG)).json()["is_running"] is False
        assert not hold.cancelled.is_set()

    async def test_it_ends_with_the_application(
        self, elasticsearch: RunningElasticsearch, crimes: str
    ) -> None:
        async with search_app(elasticsearch.url) as app:
            hold = Hold(app)
            await submit(app, crimes, f"{SHORT}&{TWO_STAGES}")
            await asyncio.wait_for(hold.scoring.wait(), TIMEOUT_S)
        assert hold.cancelled.is_set()
        assert app.upstream.sent[-1] == "DELETE /_pit"


class TestKeepAlive:
    async def test_it_is_what_the_client_wants(self, app: SearchApp, crimes: str) -> None:
        body = (await submit(app, crimes, f"{LONG}&{KEEP}&keep_alive=1d")).json()
        search, start = body["id"], body["start_time_in_millis"]
        assert body["expiration_time_in_millis"] - start == DAY
        later = (await get(app, search, "keep_alive=2d")).json()["expiration_time_in_millis"]
        assert later >= start + 2 * DAY
        assert (await get(app, search)).json()["expiration_time_in_millis"] == later
        status = await app.call("GET", f"/_async_search/status/{search}?keep_alive=3d")
        assert status.json()["expiration_time_in_millis"] >= start + 3 * DAY

    async def test_when_it_is_over_there_is_no_search(self, app: SearchApp, crimes: str) -> None:
        hold = Hold(app)
        search = (await submit(app, crimes, SHORT)).json()["id"]
        await asyncio.wait_for(hold.scoring.wait(), TIMEOUT_S)
        assert (await get(app, search, f"{LONG}&keep_alive=1ms")).json() == not_found(search)
        await asyncio.wait_for(hold.cancelled.wait(), TIMEOUT_S)


class TestOwner:
    async def test_other_callers_do_not_find_it(self, app: SearchApp, crimes: str) -> None:
        mine = await submit(app, crimes, f"{LONG}&{KEEP}", headers=ME)
        search = mine.json()["id"]
        for headers in (YOU, {}, {**ME, "es-security-runas-user": "you"}):
            for method, path in (("GET", ""), ("GET", "status/"), ("DELETE", "")):
                answer = await app.call(method, f"/_async_search/{path}{search}", headers=headers)
                assert (answer.status, answer.json()) == (404, not_found(search))
        assert (await get(app, search, headers=ME)).body == mine.body

    @pytest.mark.parametrize(("method", "path"), [("GET", ""), ("GET", "status/"), ("DELETE", "")])
    async def test_what_was_deleted_or_never_was(
        self, app: SearchApp, crimes: str, method: str, path: str
    ) -> None:
        search = (await submit(app, crimes, f"{LONG}&{KEEP}")).json()["id"]
        assert (await get(app, search, method="DELETE")).status == 200
        for id_ in (search, "rerank.x"):
            answer = await app.call(method, f"/_async_search/{path}{id_}")
            assert (answer.status, answer.json()) == (404, not_found(id_))

    async def test_credentials_that_have_become_bad_open_nothing(self) -> None:
        good, asked = True, []
        hits = (
            b'{"took":1,"_shards":{},"hits":{"total":{"value":0,"relation":"eq"},"max_score":null,"hits":[]}}'
        )

        async def serve(wire: Wire) -> None:
            while True:
                asked.append((await wire.read_message()).first_line)
                body, status = (hits, b"200 OK") if good else (b'{"error":"no","status":401}', b"401 No")
                await wire.send(
                    b"HTTP/1.1 %b\r\ncontent-type: application/json\r\nWWW-Authenticate: ApiKey\r\n"
                    b"content-length: %d\r\n\r\n%b" % (status, len(body), body)
                )

        async with raw_server(serve) as upstream, search_app(f"http://127.0.0.1:{upstream.port}") as app:
            search = (await submit(app, "films", f"{LONG}&{KEEP}", headers=ME)).json()["id"]
            good = False
            asked.clear()
            answers = [
                await submit(app, "films", headers=ME),
                await get(app, search, headers=ME),
                await app.call("GET", f"/_async_search/status/{search}", headers=ME),
                await get(app, search, method="DELETE", headers=ME),
            ]
            assert [answer.status for answer in answers] == [401] * 4
            assert all(answer.body == b'{"error":"no","status":401}' for answer in answers)
            assert all(answer.headers["WWW-Authenticate"] == "ApiKey" for answer in answers)
            assert asked == [b"GET /_security/_authenticate HTTP/1.1"] * 4
            good = True
            assert (await get(app, search, headers=ME)).status == 200


class TestFailures:
    async def test_of_the_model(self, app: SearchApp, crimes: str) -> None:
        app.engine.failure = QueueFullError("full")
        plain = await app.search(crimes, reranking())
        answer = await submit(app, crimes, f"{LONG}&{KEEP}")
        assert answer.status == plain.status == 429
        body = answer.json()
        assert (body["is_partial"], body["is_running"]) == (True, False)
        assert "response" not in body
        cause = {key: value for key, value in plain.json()["error"].items() if key != "root_cause"}
        assert body["error"] == {
            "type": "status_exception",
            "reason": "error while executing search",
            "caused_by": cause,
        }
        again = await get(app, body["id"])
        assert (again.status, again.body) == (429, answer.body)
        status = await app.call("GET", f"/_async_search/status/{body['id']}")
        assert (status.status, status.json()["completion_status"]) == (200, 429)

    async def test_of_upstream(self, app: SearchApp) -> None:
        plain = await app.search("no-such-index", reranking())
        answer = await submit(app, "no-such-index")
        assert answer.status == plain.status == 404
        cause = {key: value for key, value in plain.json()["error"].items() if key != "root_cause"}
        assert answer.json()["error"]["caused_by"] == cause
        assert "id" not in answer.json()

    async def test_of_the_proxy(self, app: SearchApp, crimes: str, caplog: pytest.LogCaptureFixture) -> None:
        app.engine.failure = AssertionError("a defect")
        answer = await submit(app, crimes)
        assert answer.status == 500
        assert answer.cause == {
            "type": "illegal_state_exception",
            "reason": "rerank-proxy failed; its log has the details",
        }
        assert "a defect" in caplog.text

    @pytest.mark.parametrize(
        ("query", "reason"),
        [
            ("keep_alive=999ms", "[keep_alive] must be greater or equals than 1 second, got:999ms"),
            ("keep_alive=-1", "[keep_alive] must be greater or equals than 1 second, got:-1"),
            ("pre_filter_shard_size=2", "[pre_filter_shard_size] cannot be changed for async search queries"),
            ("scroll=1m", "cannot specify [text_similarity_reranker] and [scroll]"),
        ],
    )
    async def test_requests_that_are_refused(
        self, app: SearchApp, crimes: str, query: str, reason: str
    ) -> None:
        answer = await submit(app, crimes, query)
        assert answer.status == 400
        error = answer.json()["error"]
        assert error["type"] == "action_request_validation_exception"
        assert error["reason"] == f"Validation Failed: 1: {reason};"
        assert all("size=-1" in sent for sent in app.upstream.sent)

    @pytest.mark.parametrize(
        "query",
        ["wait_for_completion_timeout=1", "keep_alive=1.5d", "keep_on_completion=yes", "pretty=1", "human=1"],
    )
    async def test_values_that_cannot_be_read(self, app: SearchApp, crimes: str, query: str) -> None:
        answer = await submit(app, crimes, query)
        assert answer.status == 400
        assert answer.json()["error"]["type"] == "illegal_argument_exception"
        assert app.upstream.sent == []

    async def test_a_search_that_cannot_be_read(self, app: SearchApp, crimes: str) -> None:
        body = reranking(surprise=1)
        answer = await submit(app, crimes, body=body)
        assert (answer.status, answer.json()) == (400, (await app.search(crimes, body)).json())

    async def test_parameters_that_no_one_knows(self, app: SearchApp, crimes: str) -> None:
        search = (await submit(app, crimes, f"{LONG}&{KEEP}")).json()["id"]
        answer = await get(app, search, "keep_aliv=1d&foo=1")
        assert answer.status == 400
        assert answer.json()["error"]["reason"] == (
            f"request [/_async_search/{search}] contains unrecognized parameters: [foo], "
            "[keep_aliv] -> did you mean [keep_alive]?"
        )
        assert (await get(app, search, "keep_alive=1d", method="DELETE")).status == 400
        assert (await get(app, search, "pretty=1", method="DELETE")).status == 400
        assert (await get(app, search, "typed_keys=true&error_trace=false")).status == 200


async def test_a_search_that_does_not_rerank_is_elasticsearchs(app: SearchApp, crimes: str) -> None:
    body = {"query": {"match": {"text": "text_similarity_reranker"}}}
    answer = await submit(app, crimes, body=body)
    assert (answer.status, answer.headers["x-rerank-proxy"]) == (421, "pass")
    assert app.upstream.sent == []


async def test_a_client_of_elasticsearch(app: SearchApp, crimes: str) -> None:
    hold = Hold(app)
    async with AsyncElasticsearch(app.url) as client:
        submitted = await client.async_search.submit(
            index=crimes,
            body=reranking(),
            wait_for_completion_timeout="1ms",
            keep_alive="1h",
        )
        search = submitted["id"]
        assert (await client.async_search.status(id=search))["is_running"] is True
        hold.may_score.set()
        ended = await client.async_search.get(id=search, wait_for_completion_timeout="60s", typed_keys=True)
        assert json.dumps(ended["response"]["hits"]["hits"][0]["_source"]) == '{"text": "crime 4"}'
        assert (await client.async_search.status(id=search))["completion_status"] == 200
        assert (await client.async_search.delete(id=search))["acknowledged"] is True
        with pytest.raises(NotFoundError):
            await client.async_search.get(id=search)
