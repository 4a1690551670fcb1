"""Endpoints: what they are asked, which answers they accept, and how they follow their store."""

import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rerank_proxy.concurrency.deadline import Deadline
from rerank_proxy.engine import DeadlineExceededError, EngineError, ModelFailedError, QueueFullError, Scores
from rerank_proxy.inference.configuration import EndpointConfig
from rerank_proxy.inference.endpoints import Endpoint, Endpoints
from rerank_proxy.inference.failures import InferenceFailedError, not_found, status_error, wrong_task_type
from rerank_proxy.inference.ranking import RankedDoc, RerankRequest, by_score, in_input_order, of_documents
from rerank_proxy.inference.service import Ranker
from rerank_proxy.inference.store import ReadOnlyStore, StoredEndpoint
from rerank_proxy.services.elasticsearch import ElasticsearchService
from rerank_proxy.settings import EndpointSettings
from tests.support.endpoints import LATE, LoadedModels, MemoryStore, local_endpoints


class OneAnswer(LoadedModels):
    """An engine with an answer of the test's choice."""

    def __init__(self, answer: Scores | Exception) -> None:
        self.answer = answer
        self.asked: list[tuple[str, str, Sequence[str], float]] = []

    async def scores(
        self, model: str, query: str, texts: Sequence[str], deadline: float, *, instruction: str | None = None
    ) -> Scores:
        self.asked.append((model, query, texts, deadline))
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


async def mine(answer: OneAnswer, top_n: int | None = None) -> Endpoint:
    endpoints = local_endpoints({"mine": EndpointSettings(model="minilm")}, answer, top_n=top_n)
    endpoint = await endpoints.find("mine")
    assert endpoint is not None
    return endpoint


class Fake(Ranker):
    """A ranker with scores, or results, of the test's choice."""

    model = "fake"

    def __init__(self, scores: Sequence[float] = (), docs: Sequence[RankedDoc] = ()) -> None:
        self.given = scores
        self.docs = docs
        self.closed = False

    async def scores(self, query: str, texts: Sequence[str], deadline: Deadline) -> Scores:
        return Scores(self.given)

    async def rank(self, request: RerankRequest, deadline: Deadline) -> Sequence[RankedDoc]:
        return self.docs or await super().rank(request, deadline)

    async def close(self) -> None:
        self.closed = True


def faked(scores: Sequence[float] = (), docs: Sequence[RankedDoc] = ()) -> Endpoint:
    return Endpoint(EndpointConfig("mine", "fake", {}), Fake(scores, docs))


REQUEST = RerankRequest("q", ["a", "b"])


async def failure(endpoint: Endpoint) -> InferenceFailedError:
    with pytest.raises(InferenceFailedError) as raised:
        await endpoint.scores("q", ["a", "b"], LATE)
    return raised.value


async def test_the_model_of_an_endpoint_is_asked() -> None:
    engine = OneAnswer(Scores([1.0, -2.0], [True, False]))
    endpoint = await mine(engine)
    assert await endpoint.scores("q", ["a", "b"], LATE) == Scores([1.0, -2.0], [True, False])
    assert (endpoint.inference_id, endpoint.model) == ("mine", "minilm")
    assert engine.asked == [("minilm", "q", ["a", "b"], LATE.at)]


async def test_an_unknown_endpoint() -> None:
    endpoints = local_endpoints({}, OneAnswer(Scores([])))
    assert await endpoints.find("other") is None
    failure = not_found("other")
    assert failure.status == 404
    assert failure.cause.type == "resource_not_found_exception"
    assert failure.cause.reason == "Inference endpoint not found [other]"


def test_an_endpoint_of_another_kind() -> None:
    failure = wrong_task_type("sparse_embedding")
    assert (failure.status, failure.cause.type) == (400, "status_exception")
    assert failure.cause.reason == (
        "Requested task type [rerank] does not match the inference endpoint's task type [sparse_embedding]"
    )


@pytest.mark.parametrize(("top_n", "window"), [(None, 10_000), (10, 10), (10, 1)])
async def test_a_window_that_an_endpoint_takes(top_n: int | None, window: int) -> None:
    (await mine(OneAnswer(Scores([])), top_n)).check_window(window)


async def test_a_window_larger_than_what_an_endpoint_gives() -> None:
    endpoint = await mine(OneAnswer(Scores([])), top_n=10)
    with pytest.raises(InferenceFailedError) as raised:
        endpoint.check_window(11)
    assert (raised.value.status, raised.value.cause.type) == (400, "illegal_argument_exception")
    assert raised.value.cause.reason == (
        "Inference endpoint [mine] is configured to return the top [10] results, but rank_window_size is "
        "[11]. Reduce rank_window_size to be less than or equal to the configured top N value."
    )


@pytest.mark.parametrize(
    ("raised", "status", "type_", "reason"),
    [
        (
            DeadlineExceededError("late"),
            429,
            "status_exception",
            "Request timed out after [30s] for inference id [mine]",
        ),
        (QueueFullError("the queue is full"), 429, "es_rejected_execution_exception", "the queue is full"),
        (
            ModelFailedError("no such directory"),
            500,
            "status_exception",
            "Model [minilm] of inference endpoint [mine] could not be loaded: no such directory",
        ),
        (
            EngineError("device lost"),
            500,
            "status_exception",
            "Inference with model [minilm] failed: device lost",
        ),
    ],
)
async def test_failures_of_the_engine(raised: Exception, status: int, type_: str, reason: str) -> None:
    cause = (found := await failure(await mine(OneAnswer(raised)))).cause
    assert (found.status, cause.type, cause.reason) == (status, type_, reason)
    # what exactly happened, such as a model that still loads, is told as well
    innermost = cause if cause.caused_by is None else cause.caused_by
    assert str(raised) in innermost.reason


@pytest.mark.parametrize("kind", [DeadlineExceededError, ModelFailedError, EngineError])
async def test_failures_of_the_engine_name_files_and_do_not_place_them(kind: type[EngineError]) -> None:
    raised = kind("[/srv/secret/minilm]: [Errno 13] Permission denied: '/srv/secret/minilm/config.json'")
    told = str((await failure(await mine(OneAnswer(raised)))).body())
    assert "[minilm]" in told
    assert "config.json" in told
    assert "secret" not in told


@pytest.mark.parametrize("scores", [(), (0.5,), (0.5, 0.5, 0.5)])
async def test_too_few_results(scores: Sequence[float]) -> None:
    found = await failure(faked(scores))
    assert found.status == 500
    assert found.cause.type == "illegal_state_exception"
    assert found.cause.reason.startswith(f"Expected ranked doc size to be 2, got {len(scores)}.")
    with pytest.raises(InferenceFailedError, match="Expected ranked doc size"):
        await faked(scores).rank(REQUEST, LATE)


NOT_FINITE = "Inference endpoint [mine] returned a score that is not a finite number"


@pytest.mark.parametrize("score", [math.nan, math.inf, -math.inf, 1e39])
async def test_a_score_that_is_not_a_finite_float(score: float) -> None:
    found = await failure(faked([1.0, score]))
    assert (found.status, found.cause.reason) == (500, NOT_FINITE)
    for endpoint in (faked([1.0, score]), faked(docs=[RankedDoc(0, 1.0), RankedDoc(1, score)])):
        with pytest.raises(InferenceFailedError) as raised:
            await endpoint.rank(REQUEST, LATE)
        assert (raised.value.status, raised.value.cause.reason) == (500, NOT_FINITE)


@pytest.mark.parametrize(
    ("indices", "what"), [((0, 2), "[2] for 2 inputs"), ((0, -1), "[-1] for 2 inputs"), ((1, 1), "[1] twice")]
)
async def test_an_index_that_is_none_of_the_inputs(indices: tuple[int, int], what: str) -> None:
    with pytest.raises(InferenceFailedError) as raised:
        await faked(docs=[RankedDoc(index, 1.0) for index in indices]).rank(REQUEST, LATE)
    assert raised.value.status == 500
    assert raised.value.cause.reason == f"Inference endpoint [mine] returned a result with index {what}"


async def test_results_of_a_service_that_only_scores() -> None:
    endpoint = faked([1.0, 2.0])
    assert await endpoint.rank(REQUEST, LATE) == [RankedDoc(1, 2.0, "b"), RankedDoc(0, 1.0, "a")]
    best = RerankRequest("q", ["a", "b"], 1, False)
    assert await endpoint.rank(best, LATE) == [RankedDoc(1, 2.0)]


async def test_without_texts_no_model_is_called() -> None:
    assert await faked([1.0]).scores("q", [], LATE) == Scores(())


@given(st.lists(st.floats(-50, 50, width=32), max_size=20), st.randoms())
def test_scores_are_in_input_order_whatever_the_order_of_results(scores: list[float], random: Any) -> None:
    docs = [RankedDoc(index, score) for index, score in enumerate(scores)]
    random.shuffle(docs)
    assert in_input_order(docs, len(scores)) == scores


@given(st.lists(st.integers(-3, 3).map(float), max_size=20), st.none() | st.integers(1, 30), st.randoms())
def test_equal_scores_are_in_input_order(scores: list[float], top_n: int | None, random: Any) -> None:
    docs = [RankedDoc(index, score) for index, score in enumerate(scores)]
    random.shuffle(docs)
    ranked = by_score(docs, top_n)
    assert ranked == sorted(docs, key=lambda doc: (-doc.relevance_score, doc.index))[:top_n]
    assert len(ranked) == min(len(scores), top_n or len(scores))


@given(st.lists(st.lists(st.integers(-3, 3).map(float), max_size=4), max_size=6))
def test_a_document_has_the_score_of_its_best_chunk(scores: list[list[float]]) -> None:
    chunks = [["chunk"] * len(each) for each in scores]
    joined = of_documents(Scores([score for each in scores for score in each]), chunks, [False] * len(chunks))
    assert joined.values == [max(each, default=0.0) for each in scores]
    assert (joined.cached, joined.truncated) == (0, 0)


@given(st.lists(st.tuples(st.lists(st.tuples(st.booleans(), st.booleans()), max_size=3), st.booleans())))
def test_documents_are_counted_and_not_their_chunks(
    documents: list[tuple[list[tuple[bool, bool]], bool]],
) -> None:
    of_chunks = [chunk for chunks, _ in documents for chunk in chunks]
    scores = Scores([1.0] * len(of_chunks), *([flags[at] for flags in of_chunks] for at in (0, 1)))
    joined = of_documents(scores, [chunks for chunks, _ in documents], [cut for _, cut in documents])
    assert joined.remembered == [
        bool(chunks) and all(remembered for remembered, _ in chunks) for chunks, _ in documents
    ]
    assert joined.cut == [cut or any(cut for _, cut in chunks) for chunks, cut in documents]


class Scripted(ReadOnlyStore):
    """A store whose content the test changes."""

    def __init__(self) -> None:
        self.kept: dict[str, EndpointConfig] = {}
        self.failures: dict[str, InferenceFailedError] = {}
        self.refreshed: dict[str, EndpointConfig] = {}
        self.changed: Callable[[], None] = lambda: None

    async def start(self, changed: Callable[[], None]) -> None:
        self.changed = changed

    def all(self) -> Mapping[str, StoredEndpoint]:
        return {name: StoredEndpoint(each, None, self.failures.get(name)) for name, each in self.kept.items()}

    async def refresh(self) -> None:
        self.kept |= self.refreshed
        self.changed()


def config(inference_id: str, **settings: Any) -> EndpointConfig:
    return EndpointConfig(inference_id, "elasticsearch", {"model_id": "m", **settings})


class TestStores:
    async def test_endpoints_come_go_and_change_with_the_store(self) -> None:
        store = Scripted()
        services = local_endpoints({}, OneAnswer(Scores([]))).services
        endpoints = Endpoints(services, [], store)
        await endpoints.start()
        store.kept = {"b": config("b"), "a": config("a")}
        store.changed()
        assert [each.inference_id for each in endpoints.all()] == ["a", "b"]
        first = await endpoints.find("a")
        store.kept = {"a": config("a", num_threads=2)}
        store.changed()
        assert [each.inference_id for each in endpoints.all()] == ["a"]
        second = await endpoints.find("a")
        assert first is not None
        assert second is not None
        assert (first.config, second.config) == (config("a"), config("a", num_threads=2))
        await endpoints.close()

    async def test_an_unknown_id_is_looked_for_in_the_store(self) -> None:
        store = Scripted()
        endpoints = Endpoints(local_endpoints({}, OneAnswer(Scores([]))).services, [], store)
        await endpoints.start()
        store.refreshed = {"new": config("new")}
        found = await endpoints.find("new")
        assert found is not None
        assert found.inference_id == "new"

    async def test_those_of_the_settings_win(self) -> None:
        store = Scripted()
        store.kept = {"mine": config("mine")}
        services = local_endpoints({}, OneAnswer(Scores([]))).services
        endpoints = Endpoints(services, [config("mine", num_threads=7)], store)
        found = await endpoints.find("mine")
        assert found is not None
        assert found.config.service_settings["num_threads"] == 7
        with pytest.raises(InferenceFailedError, match="preconfigured in the settings"):
            await endpoints.delete("mine")

    async def test_one_that_its_store_cannot_make_use_of(self) -> None:
        """Its secrets cannot be decrypted, for example: it is listed, and fails when it is called."""
        store = Scripted()
        store.failures = {"mine": status_error(400, "no key")}
        store.kept = {"mine": config("mine"), "other": config("other", num_threads=1)}
        services = local_endpoints({}, OneAnswer(Scores([]))).services
        endpoints = Endpoints(services, [], store)
        assert [each.inference_id for each in endpoints.all()] == ["mine", "other"]
        found = await endpoints.find("mine")
        assert found is not None
        assert (await failure(found)).cause.reason == "no key"

    async def test_one_that_its_service_cannot_open(self, caplog: pytest.LogCaptureFixture) -> None:
        store = Scripted()
        store.kept = {
            "mine": EndpointConfig("mine", "elasticsearch", {}),
            "other": config("other", num_threads=1),
        }
        known = {"unused": EndpointSettings(model="m")}
        services = local_endpoints(known, OneAnswer(Scores([1.0, 2.0]))).services
        endpoints = Endpoints(services, [], store)
        found = await endpoints.find("mine")
        assert found is not None
        refused = await failure(found)
        assert (refused.status, refused.cause.reason) == (
            400,
            "Inference endpoint [mine] has settings that its service cannot read",
        )
        assert "inference endpoint [mine] cannot be opened" in caplog.text
        other = await endpoints.find("other")
        assert other is not None
        assert (await other.scores("q", ["a", "b"], LATE)).values == [1.0, 2.0]
        assert (endpoints.count(usable=True), endpoints.count(usable=False)) == (1, 1)

    async def test_one_of_a_service_that_is_not_there(self) -> None:
        endpoints = Endpoints({}, [EndpointConfig("mine", "gone", {})], ReadOnlyStore())
        found = await endpoints.find("mine")
        assert found is not None
        assert (await failure(found)).cause.reason == "Unknown service [gone] for model [mine]"
        assert (endpoints.count(usable=True), endpoints.count(usable=False)) == (0, 1)


class Starting(Fake):
    """A ranker whose start fails if the test says so."""

    def __init__(self, failure: InferenceFailedError | None) -> None:
        super().__init__()
        self.failure = failure

    async def start(self, deadline: Deadline) -> None:
        if self.failure is not None:
            raise self.failure


class StartingService(ElasticsearchService):
    failure: InferenceFailedError | None = None

    def open(self, config: EndpointConfig) -> Any:
        return Starting(self.failure)


class TestCreating:
    """A new endpoint is kept only if it works, or may still come to."""

    async def create(self, failure: InferenceFailedError | None, *, check: bool = True) -> Endpoints:
        known = local_endpoints({"unused": EndpointSettings(model="m")}, OneAnswer(Scores([])))
        service = StartingService(known.services["elasticsearch"].context)
        service.failure = failure
        endpoints = Endpoints({service.name: service}, [], MemoryStore())
        await endpoints.start()
        told = nullcontext() if failure is None or not check else pytest.raises(InferenceFailedError)
        with told as raised:
            await endpoints.create(config("new", num_threads=1), LATE, check=check)
        assert raised is None or raised.value is failure
        return endpoints

    @pytest.mark.parametrize(
        ("failure", "check", "kept"),
        [
            (None, True, True),
            (status_error(408, "needs longer"), True, True),
            (status_error(500, "no such directory"), True, False),
            (status_error(500, "no such directory"), False, True),
        ],
    )
    async def test_what_is_kept(self, failure: InferenceFailedError | None, check: bool, kept: bool) -> None:
        endpoints = await self.create(failure, check=check)
        assert [each.inference_id for each in endpoints.all()] == (["new"] if kept else [])
        await endpoints.close()

    async def test_an_id_is_taken_once(self) -> None:
        endpoints = await self.create(None)
        with pytest.raises(InferenceFailedError, match=r"\[new\] already exists"):
            await endpoints.create(config("new", num_threads=2), LATE)
        await endpoints.delete("new")
        assert endpoints.all() == []
        with pytest.raises(InferenceFailedError, match=r"not found \[new\]"):
            await endpoints.delete("new")
