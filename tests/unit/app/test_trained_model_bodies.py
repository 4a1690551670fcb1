"""Bodies of `_ml/trained_models` that are valid JSON and make no sense: each has an answer, none a defect."""

import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, Final

import pytest
from prometheus_client import CollectorRegistry

from rerank_proxy.app.apis.context import RequestContext
from rerank_proxy.app.apis.routes import trained_model_routes
from rerank_proxy.app.apis.trained_models import TrainedModelsApi
from rerank_proxy.app.metrics import InferenceMetrics
from rerank_proxy.concurrency.tasks import BackgroundTasks
from rerank_proxy.errors import ElasticsearchError
from rerank_proxy.http.media_types import Format
from rerank_proxy.trained_models.service import TrainedModels
from rerank_proxy.upstream.privileges import Action, Privileges
from rerank_proxy.upstream.protocol import Reply
from rerank_proxy.upstream.protocol import Upstream as UpstreamOf
from rerank_proxy.upstream.trained_models import UpstreamModels
from rerank_proxy.xcontent.params import parse_params
from tests.support.processor_time import spending
from tests.support.trained_models import CONFIG, TOKENS, NotingEngine, models_in, part_body

PATH: Final = "/_ml/trained_models/mine"


class NoUpstream:
    """Elasticsearch without trained models."""

    caller = b"the test"

    async def request(self, method: str, target: str, body: bytes) -> Reply:
        error = f"no handler found for uri [{target}] and method [{method}]"
        return Reply(400, [], json.dumps({"error": error}).encode())


class EverybodyMay(Privileges):
    async def require(self, upstream: UpstreamOf, action: Action) -> None:
        pass


Call = Callable[[str, str, bytes], Any]


@pytest.fixture
async def models(tmp_path: Path) -> AsyncIterator[TrainedModels]:
    models = models_in(tmp_path, NotingEngine())
    await models.start()
    yield models
    await models.close()


@pytest.fixture
def call(models: TrainedModels) -> Call:
    api = TrainedModelsApi(models, UpstreamModels(BackgroundTasks()))
    routes = trained_model_routes(api, EverybodyMay(), InferenceMetrics(CollectorRegistry()))

    async def send(method: str, target: str, body: bytes) -> int:
        path, _, query = target.partition("?")
        route, match = next((each, match) for each in routes if (match := each.path.fullmatch(path)))
        context = RequestContext(
            method, path, match.groupdict(), parse_params(query), {}, body, "application/json", Format.JSON,
            Format.JSON, NoUpstream,
        )  # fmt: skip
        try:
            answer = await route.api.answer(context)
        except ElasticsearchError as failure:
            return failure.status
        assert isinstance(answer, Reply)
        return answer.status

    return send


def nested(depth: int) -> bytes:
    return b'{"a":' * depth + b"1" + b"}" * depth


ODD_VALUES: Final = {
    "long number": b"9" * 5000,
    "number beyond a long": b"9" * 300,
    "huge exponent": b"1e400",
    "negative": b"-1",
    "half of a pair": b'"\\ud800"',
    "nul": b'"\\u0000"',
    "long text": b'"' + b"x" * 100_000 + b'"',
    "nested": nested(990),
    "a little nested": nested(120),
    "an array": b"[" + b"1," * 1000 + b"1]",
    "objects": b"[" + b"{}," * 1000 + b"{}]",
    "null": b"null",
    "true": b"true",
    "no number": b'"NaN"',
}


def with_value(body: Any, key: str, value: bytes) -> bytes:
    """The body with a raw value at a dotted key."""
    marked = json.loads(json.dumps(body))
    inner = marked
    *parents, last = key.split(".")
    for name in parents:
        inner = inner[name]
    inner[last] = "@@@"
    return json.dumps(marked).encode().replace(b'"@@@"', value)


PART: Final = part_body(b"abc", 3, 1)
INFER: Final = {
    "docs": [{"text_field": "a"}],
    "inference_config": {"text_similarity": {"text": "q"}},
    "timeout": "10s",
}
START: Final = {"cache_size": "1mb", "number_of_allocations": 1, "adaptive_allocations": {"enabled": False}}
KEYS: Final = [
    *(
        ("", CONFIG, key)
        for key in (
            "description", "model_type", "metadata", "metadata.per_deployment_memory_bytes", "tags",
            "input.field_names", "model_size_bytes", "estimated_operations", "platform_architecture",
            "prefix_strings", "inference_config.text_similarity.results_field",
            "inference_config.text_similarity.tokenization.bert.max_sequence_length",
            "inference_config.text_similarity.tokenization.bert.span",
        )
    ),
    *(("/definition/0", PART, key) for key in PART),
    *(("/vocabulary", {"vocabulary": TOKENS}, key) for key in ("vocabulary", "merges", "scores")),
    *(("/deployment/_start", START, key) for key in (*START, "timeout", "threads_per_allocation")),
    *(("/deployment/_stop", {"force": True}, key) for key in ("id", "force", "allow_no_match")),
    *(
        ("/_infer", INFER, key)
        for key in ("docs", "timeout", "inference_config", "inference_config.text_similarity.text")
    ),
]  # fmt: skip


@pytest.mark.parametrize(
    ("path", "body", "key"), KEYS, ids=lambda value: value if isinstance(value, str) else ""
)
async def test_any_value_has_an_answer_without_a_defect(
    models: TrainedModels, call: Call, path: str, body: Any, key: str
) -> None:
    for what, value in ODD_VALUES.items():
        steps = [
            ("PUT", "", json.dumps(CONFIG).encode()),
            ("PUT", "/vocabulary", json.dumps({"vocabulary": TOKENS}).encode()),
            ("PUT", "/definition/0", json.dumps(PART).encode()),
            ("GET", "", b""),
            ("POST", "/deployment/_start", json.dumps(START).encode()),
            ("POST", "/_infer", json.dumps(INFER).encode()),
            ("GET", "/_stats", b""),
            ("POST", "/deployment/_stop", b'{"force":true}'),
            ("DELETE", "?force=true", b""),
        ]
        for method, suffix, usual in steps:
            odd = suffix == path and method != "GET"
            status = await call(method, PATH + suffix, with_value(body, key, value) if odd else usual)
            assert status < 500, (what, method, suffix)
            if odd and status != 200 and suffix != "":
                again = await call(method, PATH + suffix, usual)
                assert again < 500, (what, method, suffix)


async def test_bodies_that_carry_no_model_are_small(models: TrainedModels, call: Call) -> None:
    long = with_value(CONFIG, "description", b'"' + b"x" * 1_100_000 + b'"')
    assert await call("PUT", PATH, long) == 413
    assert await call("PUT", PATH, json.dumps(CONFIG).encode()) == 200
    blanks = b"{" + b" " * 1_100_000 + b"}"
    for method in ("_start", "_stop"):
        assert await call("POST", f"{PATH}/deployment/{method}", blanks) == 413


@pytest.mark.parametrize(
    "body",
    [
        b'{"vocabulary":["a"' + b',"a"' * 8_500_000 + b"]}",
        b'{"vocabulary":["' + b"a" * (70 * 1024 * 1024) + b'"]}',
        b'{"vocabulary":["a"],"scores":[' + b"1," * 8_500_000 + b"1]}",
    ],
    ids=["tokens", "bytes", "scores"],
)
async def test_a_vocabulary_larger_than_any_is_refused_before_it_is_read(
    models: TrainedModels, call: Call, body: bytes
) -> None:
    assert await call("PUT", PATH, json.dumps(CONFIG).encode()) == 200
    with spending() as spent:
        assert await call("PUT", f"{PATH}/vocabulary", body) == 400
    assert spent.seconds < 0.5, "reading it takes several seconds"
