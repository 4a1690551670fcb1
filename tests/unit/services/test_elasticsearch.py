"""The service `elasticsearch`: its settings, what they ask of the engine, and how texts are chunked."""

from collections.abc import Mapping, Sequence
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rerank_proxy.concurrency.steps import run_at_once
from rerank_proxy.engine import DeadlineExceededError, Engine, ModelFailedError, Reservation, Scores
from rerank_proxy.inference.configuration import EndpointConfig
from rerank_proxy.inference.failures import InferenceFailedError
from rerank_proxy.inference.local_models import LocalModels, StartedDeployment
from rerank_proxy.inference.ranking import RerankRequest
from rerank_proxy.inference.service import ServiceContext
from rerank_proxy.services.elasticsearch import ElasticsearchService, settings_of_model
from rerank_proxy.services.local_ranker import chunked, reservation_of
from rerank_proxy.settings import ModelSettings
from tests.support.endpoints import LATE

SETTINGS = {"model_id": "minilm", "num_threads": 2, "num_allocations": 3}


class Uploaded:
    def has_model(self, model_id: str) -> bool:
        return model_id == "uploaded"

    def deployments(self) -> Mapping[str, StartedDeployment]:
        return {"started": StartedDeployment("started", "uploaded", 2, 4)}


class Recording:
    """An engine that scores a text by its length, and records its calls."""

    def __init__(self) -> None:
        self.demands: dict[tuple[str, str], Reservation] = {}
        self.texts: list[str] = []
        self.instructions: list[str | None] = []
        self.failure: Exception | None = None

    def reserve(self, model: str, holder: str, demand: Reservation) -> None:
        self.demands[model, holder] = demand

    def release(self, model: str, holder: str) -> None:
        del self.demands[model, holder]

    async def wait_ready(self, model: str, deadline: float | None = None) -> None:
        if self.failure is not None:
            raise self.failure

    async def scores(
        self, model: str, query: str, texts: Sequence[str], deadline: float, *, instruction: str | None = None
    ) -> Scores:
        self.texts += texts
        self.instructions.append(instruction)
        return Scores([float(len(text)) for text in texts])


@pytest.fixture
def engine() -> Recording:
    return Recording()


@pytest.fixture
def service(engine: Recording) -> ElasticsearchService:
    sources = {"minilm": "org/minilm", ".rerank-v1": "https://models.example"}
    models = LocalModels({k: ModelSettings(source=v) for k, v in sources.items()}, Uploaded())
    return ElasticsearchService(ServiceContext(engine=cast("Engine", engine), models=models))


def refusal(service: ElasticsearchService, settings: Mapping[str, Any], **task: Any) -> tuple[int, str, str]:
    with pytest.raises(InferenceFailedError) as raised:
        service.parse("mine", settings, task)
    cause = raised.value.cause
    return raised.value.status, cause.type, cause.reason


class TestSettings:
    def test_what_is_shown(self, service: ElasticsearchService) -> None:
        config = service.parse("mine", SETTINGS, {})
        assert config.document() == {
            "inference_id": "mine",
            "task_type": "rerank",
            "service": "elasticsearch",
            "service_settings": {"num_allocations": 3, "num_threads": 2, "model_id": "minilm"},
            "task_settings": {"return_documents": True},
        }
        assert list(config.service_settings) == ["num_allocations", "num_threads", "model_id"]

    def test_the_preconfigured_endpoint(self, service: ElasticsearchService) -> None:
        config = service.parse(".rerank-v1-elasticsearch", settings_of_model(".rerank-v1"), {})
        assert config.service_settings == {
            "num_threads": 1,
            "model_id": ".rerank-v1",
            "adaptive_allocations": {
                "enabled": True,
                "min_number_of_allocations": 0,
                "max_number_of_allocations": 32,
            },
        }

    @pytest.mark.parametrize(
        ("settings", "reason"),
        [
            (
                {"model_id": "minilm"},
                "Validation Failed: 1: [service_settings] does not contain the required setting "
                "[num_threads];",
            ),
            (
                {"model_id": "minilm", "num_threads": 1},
                "Validation Failed: 1: [service_settings] does not contain one of the required settings "
                "[num_allocations, adaptive_allocations];",
            ),
            (
                {**SETTINGS, "num_threads": "abc"},
                "Validation Failed: 1: field [num_threads] is not of the expected type. The value [abc] "
                "cannot be converted to a [Integer];",
            ),
            (
                {**SETTINGS, "num_allocations": 0, "model_id": ""},
                "Validation Failed: 1: [service_settings] Invalid value [0]. [num_allocations] must be a "
                "positive integer;2: [service_settings] Invalid value empty string. [model_id] must be a "
                "non-empty string;",
            ),
            (
                {**SETTINGS, "adaptive_allocations": {"enabled": True, "max": 3}},
                "Validation Failed: 1: [service_settings] [adaptive_allocations] does not allow the setting "
                "[max];",
            ),
            (
                {**SETTINGS, "adaptive_allocations": {"min_number_of_allocations": -1}},
                "Validation Failed: 1: [service_settings] [min_number_of_allocations] must be a non-negative "
                "integer or null;",
            ),
            (
                {
                    **SETTINGS,
                    "adaptive_allocations": {
                        "min_number_of_allocations": 3,
                        "max_number_of_allocations": 2,
                    },
                },
                "Validation Failed: 1: [service_settings] [min_number_of_allocations] must not be larger "
                "than [max_number_of_allocations];",
            ),
            (
                {**SETTINGS, "model_id": ".rerank-v1", "max_chunks_per_doc": 2},
                "Validation Failed: 1: The [max_chunks_per_doc] setting requires [long_document_strategy] to "
                "be set to [chunk];",
            ),
            (
                {**SETTINGS, "model_id": ".rerank-v1", "long_document_strategy": "cut"},
                "Validation Failed: 1: [service_settings] Invalid value [cut]; expected one of "
                "[chunk, truncate];",
            ),
        ],
    )
    def test_what_is_invalid(
        self, service: ElasticsearchService, settings: dict[str, Any], reason: str
    ) -> None:
        assert refusal(service, settings) == (400, "validation_exception", reason)

    def test_unknown_settings(self, service: ElasticsearchService) -> None:
        expected = (400, "status_exception")
        for settings, task, shown in (
            ({**SETTINGS, "foo": {"a": [1, True]}}, {}, "{foo={a=[1, true]}}"),
            ({**SETTINGS, "long_document_strategy": "chunk"}, {}, "{long_document_strategy=chunk}"),
            (SETTINGS, {"top_n": 3}, "{top_n=3}"),
        ):
            reason = f"Configuration contains settings [{shown}] unknown to the [elasticsearch] service"
            assert refusal(service, settings, **task) == (*expected, reason)

    def test_models(self, service: ElasticsearchService) -> None:
        assert refusal(service, {**SETTINGS, "model_id": "gone"}) == (
            400,
            "illegal_argument_exception",
            "Error parsing request config, model id does not match any models available on this platform. "
            "Was [gone]. You may need to load it into the cluster using eland.",
        )
        without = {name: value for name, value in SETTINGS.items() if name != "model_id"}
        assert refusal(service, without) == (
            400,
            "illegal_argument_exception",
            "Error parsing service settings, model_id must be provided",
        )
        assert service.parse("mine", {**SETTINGS, "model_id": "org__minilm"}, {}).service_settings[
            "model_id"
        ] == ("org__minilm")

    def test_deployments(self, service: ElasticsearchService) -> None:
        assert service.parse("mine", {"deployment_id": "started"}, {}).service_settings == {
            "num_allocations": 2,
            "num_threads": 4,
            "model_id": "uploaded",
            "deployment_id": "started",
        }
        assert refusal(service, {"deployment_id": "x"}) == (
            404,
            "status_exception",
            "Cannot find deployment [x]",
        )
        assert refusal(service, {"deployment_id": "started", "model_id": "minilm"}) == (
            400,
            "status_exception",
            "Deployment [started] uses model [uploaded] which does not match the model [minilm] in the "
            "request.",
        )

    def test_updates(self, service: ElasticsearchService) -> None:
        config = service.parse("mine", SETTINGS, {})
        more = service.update(config, {"num_allocations": 5}, {"return_documents": False})
        assert more.service_settings == {"num_allocations": 5, "num_threads": 2, "model_id": "minilm"}
        assert more.task_settings == {"return_documents": False}
        adaptive = service.update(config, {"adaptive_allocations": {"enabled": True}}, {})
        assert adaptive.service_settings == {
            "num_threads": 2,
            "model_id": "minilm",
            "adaptive_allocations": {"enabled": True},
        }
        fixed = service.update(adaptive, {"num_allocations": 1}, {})
        assert fixed.service_settings == {"num_allocations": 1, "num_threads": 2, "model_id": "minilm"}
        with pytest.raises(InferenceFailedError, match=r"cannot be updated.*\{num_threads=4\}"):
            service.update(config, {"num_threads": 4}, {})


class TestDemand:
    @pytest.mark.parametrize(
        ("settings", "demand"),
        [
            ({"num_threads": 2, "num_allocations": 3}, Reservation(6, keep_loaded=True)),
            (
                {"num_threads": 2, "adaptive_allocations": {"enabled": True}},
                Reservation(None, keep_loaded=True),
            ),
            (
                {
                    "num_threads": 2,
                    "adaptive_allocations": {
                        "enabled": True,
                        "min_number_of_allocations": 0,
                        "max_number_of_allocations": 8,
                    },
                },
                Reservation(16, keep_loaded=False),
            ),
            (
                {
                    "num_threads": 1,
                    "adaptive_allocations": {"enabled": True, "min_number_of_allocations": 1},
                },
                Reservation(None, keep_loaded=True),
            ),
            (
                {"num_threads": 4, "adaptive_allocations": {"enabled": False}},
                Reservation(4, keep_loaded=True),
            ),
        ],
    )
    def test_of_settings(self, settings: dict[str, Any], demand: Reservation) -> None:
        assert reservation_of(settings) == demand

    async def test_it_lives_as_long_as_the_endpoint(
        self, service: ElasticsearchService, engine: Recording
    ) -> None:
        config = service.parse("mine", {**SETTINGS, "model_id": "org__minilm"}, {})
        first = service.open(config)
        second = service.open(service.update(config, {"num_allocations": 1}, {}))
        assert {model for model, _ in engine.demands} == {"minilm"}
        assert sorted(engine.demands.values(), key=str) == [Reservation(2), Reservation(6)]
        await first.close()
        assert list(engine.demands.values()) == [Reservation(2)]
        await second.close()
        assert engine.demands == {}

    async def test_a_deployment_asks_for_itself(
        self, service: ElasticsearchService, engine: Recording
    ) -> None:
        service.open(service.parse("mine", {"deployment_id": "started"}, {}))
        assert engine.demands == {}


class TestStarting:
    async def test_a_model_that_needs_longer(self, service: ElasticsearchService, engine: Recording) -> None:
        engine.failure = DeadlineExceededError("model [minilm] was still loading at the deadline")
        with pytest.raises(InferenceFailedError) as raised:
            await service.open(service.parse("mine", SETTINGS, {})).start(LATE)
        assert (raised.value.status, raised.value.cause.type) == (408, "model_deployment_timeout_exception")
        assert raised.value.cause.caused_by is not None
        assert raised.value.cause.caused_by.reason == f"{engine.failure}: {LATE.limit} has passed"

    async def test_a_model_that_cannot_be_loaded(
        self, service: ElasticsearchService, engine: Recording
    ) -> None:
        engine.failure = ModelFailedError("no such directory")
        with pytest.raises(InferenceFailedError, match="no such directory") as raised:
            await service.open(service.parse("mine", SETTINGS, {})).start(LATE)
        assert raised.value.status == 500


class TestRanking:
    async def rank(
        self, service: ElasticsearchService, settings: Mapping[str, Any], **request: Any
    ) -> list[tuple[int, float, str | None]]:
        config = service.parse("mine", settings, {})
        given = service.complete(config, RerankRequest("q", **request))
        docs = await service.open(config).rank(given, LATE)
        return [(doc.index, doc.relevance_score, doc.text) for doc in docs]

    async def test_results_are_sorted_and_have_their_texts(self, service: ElasticsearchService) -> None:
        texts = ["aa", "b", "ccc", "dd"]
        assert await self.rank(service, SETTINGS, texts=texts) == [
            (2, 3.0, "ccc"),
            (0, 2.0, "aa"),
            (3, 2.0, "dd"),
            (1, 1.0, "b"),
        ]
        assert await self.rank(service, SETTINGS, texts=texts, top_n=2, return_documents=False) == [
            (2, 3.0, None),
            (0, 2.0, None),
        ]
        assert len(await self.rank(service, SETTINGS, texts=texts, top_n=99)) == 4

    async def test_an_instruction_is_the_endpoints_or_that_of_a_call(
        self, service: ElasticsearchService, engine: Recording
    ) -> None:
        config = service.parse("mine", SETTINGS, {"instruction": "Find laws"})
        ranker = service.open(config)
        await ranker.scores("q", ["text"], LATE)
        await ranker.rank(service.complete(config, RerankRequest("q", ["text"])), LATE)
        own = RerankRequest("q", ["text"], task_settings={"instruction": "Find rivers"})
        await ranker.rank(service.complete(config, own), LATE)
        assert engine.instructions == ["Find laws", "Find laws", "Find rivers"]
        assert await self.rank(service, SETTINGS, texts=["text"])
        assert engine.instructions[-1] is None

    def test_an_instruction_has_a_limit(self, service: ElasticsearchService) -> None:
        status, _, reason = refusal(service, SETTINGS, instruction="x" * 8193)
        assert status == 400
        assert "[instruction] must have at most 8192 characters" in reason

    async def test_long_documents_may_be_scored_by_their_best_chunk(
        self, service: ElasticsearchService, engine: Recording
    ) -> None:
        settings = {**SETTINGS, "model_id": ".rerank-v1", "long_document_strategy": "chunk"}
        long = "A sentence of seven words stands here. " * 200
        ranked = await self.rank(service, settings, texts=["short", long])
        assert [(index, text) for index, _, text in ranked] == [(1, long), (0, "short")]
        assert len(engine.texts) > 3
        assert ranked[0][1] == max(map(len, engine.texts))
        engine.texts.clear()
        await self.rank(service, {**settings, "max_chunks_per_doc": 1}, texts=["short", long])
        assert len(engine.texts) == 2


@given(
    st.text(max_size=30),
    st.lists(st.text("ab .\n", max_size=400), max_size=3),
    st.none() | st.integers(1, 3),
)
def test_every_text_has_a_chunk_of_its_own(query: str, texts: list[str], most: int | None) -> None:
    spans, chunks = run_at_once(chunked(query, texts, most))
    assert chunks == [text[a:b] for text, each in zip(texts, spans, strict=True) for a, b in each]
    for text, each in zip(texts, spans, strict=True):
        parts = [text[start:end] for start, end in each]
        assert 1 <= len(parts) <= (most or 1000)
        assert all(part in text for part in parts)
        assert most is not None or "".join(parts).replace(" ", "") or not text.strip()


def test_a_long_query_leaves_half_of_the_window() -> None:
    text = " ".join(f"word{n}" for n in range(1000))
    queries = ("q", "q " * 1000)
    beside_short, beside_long = (run_at_once(chunked(query, [text], None)).texts for query in queries)
    # int(0.75 * (512 - 3 - 2)) and int(0.75 * 256) words
    assert len(beside_short[0].split()) == 380
    assert len(beside_long[0].split()) == 192


def test_the_name_in_the_catalogue(service: ElasticsearchService) -> None:
    assert service.configurations()["num_threads"]["required"] is True
    assert EndpointConfig("a", service.name, {}).document()["service"] == "elasticsearch"
