"""What upstream says about inference endpoints, and how long that is believed."""

import json
from typing import Any

import pytest

from rerank_proxy.concurrency.tasks import BackgroundTasks
from rerank_proxy.errors import ElasticsearchError
from rerank_proxy.upstream.inference import UpstreamInference
from rerank_proxy.upstream.protocol import Reply, UpstreamRefusedError
from tests.unit.search.doubles import ScriptedUpstream

NO_HANDLER = b'{"error":"no handler found for uri [/_inference/_all] and method [GET]"}'


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


class Scripted:
    """An upstream whose answers the test changes.

    Attributes:
        answers: By target, status and body; else 404.
    """

    def __init__(self) -> None:
        self.answers: dict[str, tuple[int, Any]] = {"/_inference/_all": (200, {"endpoints": []})}
        self.upstream = ScriptedUpstream(self._answer)
        self.clock = Clock()
        self.probes = BackgroundTasks()
        self.theirs = UpstreamInference(self.probes, self.clock)

    def _answer(self, method: str, target: str, body: Any) -> Reply:
        status, value = self.answers.get(target, (404, {}))
        return Reply(status, (), value if isinstance(value, bytes) else json.dumps(value).encode())

    def says(self, status: int, body: Any, target: str = "/_inference/_all") -> None:
        self.answers[target] = (status, body)

    async def exists(self) -> bool:
        return await self.theirs.exists(self.upstream)


class TestExists:
    @pytest.mark.parametrize(
        ("status", "body", "exists"),
        [
            (200, {"endpoints": []}, True),
            (400, NO_HANDLER, False),
            (404, {"error": {"type": "index_not_found_exception"}}, False),
            (405, {"error": "Incorrect HTTP method for uri [/_inference/_all] and method [GET]"}, False),
        ],
    )
    async def test_it_is_asked_once_in_a_while(self, status: int, body: Any, exists: bool) -> None:
        scripted = Scripted()
        scripted.says(status, body)
        for _ in range(3):
            assert await scripted.exists() is exists
        assert [sent[:2] for sent in scripted.upstream.sent] == [("GET", "/_inference/_all")]
        scripted.says(*((404, {}) if exists else (200, {"endpoints": []})))
        scripted.clock.now = 59
        assert await scripted.exists() is exists
        scripted.clock.now = 61
        assert await scripted.exists() is exists  # until the answer to the probe that this began
        await scripted.probes.finish()
        assert await scripted.exists() is not exists

    @pytest.mark.parametrize(
        ("status", "body"),
        [
            (401, {}),
            (403, {}),
            (429, {}),
            (503, {}),
            (400, {"error": {"root_cause": [{"type": "media_type_header_exception"}]}}),
        ],
    )
    async def test_a_refusal_says_nothing_for_others(self, status: int, body: Any) -> None:
        """It is left to answer this caller, and asked again for the next."""
        scripted = Scripted()
        scripted.says(status, body)
        assert await scripted.exists()
        scripted.says(400, NO_HANDLER)
        assert not await scripted.exists()


class TestEndpoints:
    async def test_are_not_written_anew(self) -> None:
        scripted = Scripted()
        first, second = b'{ "x":1.50, "inference_id" :"a\\u0062"}', b'{"inference_id":"c"}'
        scripted.says(200, b'{"endpoints": [' + first + b" ,\n" + second + b"]}", "/_inference/rerank/_all")
        found = await scripted.theirs.endpoints(scripted.upstream, "/_inference/rerank/_all")
        assert found == [("ab", first), ("c", second)]

    async def test_where_there_is_no_such_api(self) -> None:
        scripted = Scripted()
        scripted.says(400, NO_HANDLER)
        assert await scripted.theirs.endpoints(scripted.upstream, "/_inference/_all") == []
        assert await scripted.theirs.services(scripted.upstream, "/_inference/_services") == []
        assert not await scripted.theirs.has(scripted.upstream, "a")
        assert len(scripted.upstream.sent) == 1

    @pytest.mark.parametrize("status", [400, 401, 403, 429, 500])
    async def test_a_refusal_is_the_clients(self, status: int) -> None:
        scripted = Scripted()
        scripted.says(status, {}, "/_inference/embedding/_all")
        with pytest.raises(UpstreamRefusedError) as raised:
            await scripted.theirs.endpoints(scripted.upstream, "/_inference/embedding/_all")
        assert raised.value.reply.status == status

    async def test_one_by_its_id(self) -> None:
        scripted = Scripted()
        scripted.says(200, {"endpoints": [{"inference_id": "a/b"}]}, "/_inference/a%2Fb")
        assert await scripted.theirs.has(scripted.upstream, "a/b")
        assert not await scripted.theirs.has(scripted.upstream, "c")

    @pytest.mark.parametrize("nonsense", [b"", b"<html>", {"a": 1}, {"endpoints": 5}, {"endpoints": [{}]}])
    async def test_nonsense_is_upstreams_fault(self, nonsense: Any) -> None:
        scripted = Scripted()
        scripted.says(200, nonsense, "/_inference/a")
        with pytest.raises(ElasticsearchError, match="not as Elasticsearch does") as raised:
            await scripted.theirs.has(scripted.upstream, "a")
        assert raised.value.status == 502


class TestServices:
    async def test_catalogue(self) -> None:
        scripted = Scripted()
        catalogue = [{"service": "openai", "name": "OpenAI", "task_types": ["completion"]}]
        scripted.says(200, catalogue, "/_inference/_services")
        assert await scripted.theirs.services(scripted.upstream, "/_inference/_services") == catalogue

    async def test_older_versions_have_none(self) -> None:
        scripted = Scripted()
        assert await scripted.theirs.services(scripted.upstream, "/_inference/_services") == []

    async def test_a_refusal_is_the_clients(self) -> None:
        scripted = Scripted()
        scripted.says(403, {}, "/_inference/_services")
        with pytest.raises(UpstreamRefusedError):
            await scripted.theirs.services(scripted.upstream, "/_inference/_services")

    @pytest.mark.parametrize(
        "nonsense",
        [b"", b"<html>", {"a": 1}, [5], [{}], [{"service": 5, "task_types": []}], [{"service": "a"}]],
    )
    async def test_nonsense_is_upstreams_fault(self, nonsense: Any) -> None:
        scripted = Scripted()
        scripted.says(200, nonsense, "/_inference/_services")
        with pytest.raises(ElasticsearchError, match="not as Elasticsearch does") as raised:
            await scripted.theirs.services(scripted.upstream, "/_inference/_services")
        assert raised.value.status == 502
