"""Eland, as it is published, uploads a cross-encoder to the proxy, and searches are reranked with it."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

from testbed import RunningElasticsearch
from testbed.http import Server
from testbed.proxy import RunningProxy
from tests.live.conftest import MakeIndex
from tests.support import tiny_models
from tests.support.eland import Eland, Run, environment
from tests.support.tiny_models import CORPUS

pytestmark = pytest.mark.timeout(900)  # the first time, Eland's environment is made

MAX_LENGTH = 128
"""As many tokens as the text takes that Eland traces a model with."""
QUERY = "which trees were planted?"
MODEL = "eland-model"


@pytest.fixture(scope="module")
def eland(elasticsearch: RunningElasticsearch) -> Eland:
    if elasticsearch.major < 9:
        pytest.skip("Eland 9 is for Elasticsearch 9 and later")
    return Eland(environment().made())


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("state")


def serving(elasticsearch: RunningElasticsearch, state: Path) -> RunningProxy:
    return RunningProxy(
        elasticsearch.url,
        state_dir=state,
        options=["--trained-models-upload", "true", "--engine-device", "cpu"],
    )


@pytest.fixture(scope="module")
def proxy(eland: Eland, elasticsearch: RunningElasticsearch, state: Path) -> Iterator[RunningProxy]:
    with serving(elasticsearch, state) as running:
        running.wait_ready()
        yield running


@pytest.fixture(scope="module")
def bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return cross_encoder("bert", tmp_path_factory.mktemp("model") / "Tiny BERT")


@pytest.fixture(scope="module")
def roberta(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return cross_encoder("roberta", tmp_path_factory.mktemp("model") / "roberta")


def cross_encoder(kind: str, directory: Path) -> Path:
    tiny_models.build(kind, directory, max_length=MAX_LENGTH)
    tiny_models.add_slow_tokenizer(directory)
    return directory


def upload(eland: Eland, proxy: RunningProxy, model: Path, *options: str) -> Run:
    return eland.import_hub_model(
        "--url", proxy.server.url, "--hub-model-id", str(model), "--task-type", "text_similarity", *options
    )


def scores_of(model: Path, query: str, texts: Sequence[str]) -> list[float]:
    """Return the scores that the model itself gives."""
    tokenizer: Any = transformers.AutoTokenizer.from_pretrained(model)
    family: Any = transformers.AutoModelForSequenceClassification
    network = family.from_pretrained(model).eval()
    rows = [
        tokenizer(query, text, truncation="only_second", max_length=MAX_LENGTH, return_tensors="pt")
        for text in texts
    ]
    with torch.no_grad():
        return [network(**row).logits.item() for row in rows]


def inferred(server: Server, model_id: str) -> list[float]:
    body = {
        "docs": [{"text_field": text} for text in CORPUS],
        "inference_config": {"text_similarity": {"text": QUERY}},
    }
    reply = server.call("POST", f"/_ml/trained_models/{model_id}/_infer?timeout=120s", body)
    assert reply.status == 200, reply.body
    return [each["predicted_value"] for each in reply.json()["inference_results"]]


def test_an_upload_serves_searches(
    eland: Eland, proxy: RunningProxy, bert: Path, make_index: MakeIndex
) -> None:
    run = upload(eland, proxy, bert, "--start")
    assert run.status == 0, run.output
    assert "1/1" in run.output  # the progress of parts
    # Eland makes the id of the directory's last 64 characters, in lower case, with `__` for `/` and blanks.
    (config,) = proxy.server.call("GET", "/_ml/trained_models").json()["trained_model_configs"]
    model_id = config["model_id"]
    assert model_id.endswith("__tiny__bert")
    assert f"Model successfully imported with id '{model_id}'" in run.output

    expected = scores_of(bert, QUERY, CORPUS)
    assert inferred(proxy.server, model_id) == pytest.approx(expected, abs=1e-4)

    settings = {"num_allocations": 1, "num_threads": 1, "model_id": model_id}
    body = {"service": "elasticsearch", "service_settings": settings}
    reply = proxy.server.call("PUT", "/_inference/rerank/mine", body)
    assert reply.status == 200, reply.body
    index = make_index([{"text": text} for text in CORPUS])
    search = {
        "size": len(CORPUS),
        "retriever": {
            "text_similarity_reranker": {
                "retriever": {"standard": {"query": {"match_all": {}}}},
                "field": "text",
                "inference_id": "mine",
                "inference_text": QUERY,
            }
        },
    }
    hits = proxy.server.call("POST", f"/{index}/_search", search).json()["hits"]["hits"]
    best_first = sorted(range(len(CORPUS)), key=lambda at: -expected[at])
    assert [int(hit["_id"]) for hit in hits] == best_first

    refused = proxy.server.call("DELETE", f"/_ml/trained_models/{model_id}")
    assert refused.status == 409
    assert proxy.server.call("DELETE", f"/_ml/trained_models/{model_id}?force=true").status == 200


@pytest.mark.long
def test_an_upload_takes_the_place_of_another_and_outlives_the_process(
    eland: Eland,
    proxy: RunningProxy,
    bert: Path,
    roberta: Path,
    elasticsearch: RunningElasticsearch,
    state: Path,
) -> None:
    first = upload(eland, proxy, bert, "--es-model-id", MODEL, "--start")
    assert first.status == 0, first.output
    second = upload(eland, proxy, roberta, "--es-model-id", MODEL, "--start", "--clear-previous")
    assert second.status == 0, second.output
    expected = pytest.approx(scores_of(roberta, QUERY, CORPUS), abs=1e-4)
    assert inferred(proxy.server, MODEL) == expected
    proxy.stop()
    with serving(elasticsearch, state) as again:
        again.wait_ready()
        (stats,) = again.server.call("GET", f"/_ml/trained_models/{MODEL}/_stats").json()[
            "trained_model_stats"
        ]
        assert stats["deployment_stats"]["deployment_id"] == MODEL
        assert inferred(again.server, MODEL) == expected
