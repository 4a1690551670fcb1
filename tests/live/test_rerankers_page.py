"""Every example of docs/rerankers.md, sent as it stands there, and a search with each endpoint."""

import json
import re
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from rerank_proxy.engine import Engine
from rerank_proxy.inference.endpoints import Endpoints
from rerank_proxy.inference.local_models import LocalModels
from rerank_proxy.inference.remote.client import RemoteClient
from rerank_proxy.inference.remote.vendor import RemoteContext
from rerank_proxy.search.ranks.scores import normalize
from rerank_proxy.services.built_in import load_services
from rerank_proxy.services.preconfigured import preconfigured_endpoints
from rerank_proxy.settings import RemoteSettings, Settings
from testbed import RunningElasticsearch
from tests.live.conftest import MakeIndex
from tests.support import packages, tiny_generating
from tests.support.endpoints import MemoryStore
from tests.support.engines import running
from tests.support.pages import read
from tests.support.project import ROOT
from tests.support.search_app import search_app
from tests.support.tiny_models import build
from tests.support.vendors import Wire, serving, wires
from tests.support.vendors.cases import SECRET_KEY, service_account

PAGE: Final = read(ROOT / "docs" / "rerankers.md")
TEXTS: Final = ("a crime story 2", "no crime at all 4", "the best crime 7", "crime again 1")

WIRES: Final[Mapping[str, Wire]] = {
    "my-cohere": wires.COHERE_V2,
    "my-vertex": wires.GOOGLE,
    "my-jina": wires.JINA,
    "my-voyage": wires.VOYAGE,
    "my-tei": wires.TEI,
    "my-azure": wires.AZURE,
    "my-alibaba": wires.ALIBABA,
    "my-watsonx": wires.WATSONX,
    "my-nvidia": wires.NIM,
    "my-openshift": wires.VLLM,
    "my-contextual": wires.CONTEXTUAL,
    "my-mixedbread": wires.MIXEDBREAD,
    "my-sagemaker": replace(
        wires.SAGEMAKER, headers={"Authorization": "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/*"}
    ),
    "my-vllm": wires.VLLM,
    "my-infinity": wires.INFINITY,
    "my-nim": replace(wires.NIM, path="/v1/ranking"),
    "my-keyless-tei": replace(wires.TEI, headers={}),
}
"""What stands in for the vendor of each endpoint."""


@dataclass(frozen=True)
class Example:
    """A request of the page, and the settings in its section."""

    method: str
    path: str
    body: Mapping[str, Any]
    settings: Mapping[str, Any]

    @property
    def inference_id(self) -> str:
        return self.path.rpartition("/")[2]

    @property
    def service(self) -> str:
        return str(self.body["service"])

    def __str__(self) -> str:
        return self.inference_id


def examples() -> list[Example]:
    found = []
    for section in re.split(r"^##+ ", PAGE, flags=re.MULTILINE):
        blocks = re.findall(r"^```(\w+)\n(.*?)^```$", section, flags=re.MULTILINE | re.DOTALL)
        settings = {}
        for language, text in blocks:
            if language == "yaml":
                settings = yaml.safe_load(text)
            elif language == "http":
                line, _, body = text.partition("\n")
                method, path = line.split()
                found.append(Example(method, "/" + path.lstrip("/"), json.loads(body), settings))
    return found


SEARCH: Final = next(each for each in examples() if each.method == "POST")
PUTS: Final = [each for each in examples() if each.method == "PUT"]
LOCAL: Final = [each for each in PUTS if each.service == "elasticsearch"]
REMOTE: Final = [each for each in PUTS if each.service != "elasticsearch"]


def test_all_systems_are_there() -> None:
    assert {each.service for each in PUTS} == {service for service in _service_names() if service != "acme"}
    assert {each.inference_id for each in REMOTE} == set(WIRES)
    assert len(LOCAL) == 5


def _service_names() -> set[str]:
    from rerank_proxy.services.built_in import BUILT_IN

    return {service.name for service in BUILT_IN}


@asynccontextmanager
async def endpoints_over(
    engine: Engine, settings: Settings, remote: RemoteSettings | None = None
) -> AsyncIterator[Endpoints]:
    """Make endpoints as the application does, except for the store."""
    client = RemoteClient(remote or RemoteSettings())
    models = LocalModels(settings.models)
    services = load_services(RemoteContext(engine=engine, models=models, remote=client, timeout_s=30.0))
    fixed = preconfigured_endpoints(services, settings.endpoints, models)
    try:
        yield Endpoints(services, fixed, MemoryStore())
    finally:
        await client.close()


@pytest.fixture
def index(make_index: MakeIndex) -> str:
    return make_index([{"plot": text} for text in TEXTS])


def search_with(inference_id: str) -> dict[str, Any]:
    body: dict[str, Any] = json.loads(json.dumps(SEARCH.body))
    body["retriever"]["text_similarity_reranker"]["inference_id"] = inference_id
    return body


@pytest.mark.parametrize("example", REMOTE, ids=str)
async def test_a_remote_service(example: Example, elasticsearch: RunningElasticsearch, index: str) -> None:
    async with AsyncExitStack() as stack:
        vendor = await stack.enter_async_context(serving(WIRES[example.inference_id]))
        remote = RemoteSettings(
            allowed_hosts=("vendors", "127.0.0.1"),
            allow_private_addresses=True,
            base_urls={example.service: vendor.url} if example.service != "custom" else {},
        )
        engine = await stack.enter_async_context(running({}))
        endpoints = await stack.enter_async_context(endpoints_over(engine, Settings(), remote))
        app = await stack.enter_async_context(search_app(elasticsearch.url, endpoints=endpoints))
        made = await app.call("PUT", example.path, _at_double(example.body, vendor.url))
        assert made.status == 200, made.body
        for secret in (wires.KEY, SECRET_KEY, "PRIVATE KEY"):
            assert secret.encode() not in made.body
        tested = len(vendor.seen)
        assert tested >= 1
        answer = await app.search(index, search_with(example.inference_id))
        assert [hit["_source"]["plot"] for hit in answer.hits] == [TEXTS[2], TEXTS[1], TEXTS[0], TEXTS[3]]
        assert answer.scores == [float(score) for score in normalize([7, 4, 2, 1])]
        assert len(vendor.seen) == tested + 1
        assert answer.headers["X-Rerank"].startswith(f"applied; endpoint={example.inference_id}; ")


def _at_double(body: Mapping[str, Any], url: str) -> bytes:
    """Return the request with the double in place of the vendor, and with keys that the double knows."""
    secrets: Mapping[str, Callable[[], str]] = {
        "<api key>": lambda: wires.KEY,
        "<access key>": lambda: "AKIDEXAMPLE",
        "<secret key>": lambda: SECRET_KEY,
        "<service account json>": partial(service_account, f"{url}/token"),
    }
    changed = json.loads(json.dumps(body))
    settings = changed["service_settings"]
    for holder in (settings, settings.get("secret_parameters", {})):
        for name, value in holder.items():
            if isinstance(value, str):
                secret = secrets.get(value)
                holder[name] = secret() if secret is not None else re.sub(r"^https://[^/]+", url, value)
    if "host" in settings:
        settings.update(host=url.removeprefix("http://"), http_schema="http")
    return json.dumps(changed).encode()


@pytest.mark.parametrize("example", LOCAL, ids=str)
async def test_a_model_of_this_machine(
    example: Example, elasticsearch: RunningElasticsearch, index: str, tmp_path: Path
) -> None:
    written = example.settings or PUTS[[str(each) for each in PUTS].index("my-minilm")].settings
    model_id = example.body["service_settings"]["model_id"]
    settings = Settings.model_validate(written)
    ((name, model),) = settings.models.items()
    instruction = example.body.get("task_settings", {}).get("instruction")
    if instruction is not None:
        source = tiny_generating.build("qwen3", "CausalLM", tmp_path / Path(model.source).name)
    else:
        source = tiny = build("deberta-v2", tmp_path / "tiny")
    if model_id == ".rerank-v1":
        source = tmp_path / "package"
        source.mkdir()
        packages.build("deberta-v2", tiny, source, "rerank-v1")
    served = {name: {"source": source, "truncation": model.truncation}}
    async with AsyncExitStack() as stack:
        engine = await stack.enter_async_context(running(served))
        endpoints = await stack.enter_async_context(endpoints_over(engine, settings))
        app = await stack.enter_async_context(search_app(elasticsearch.url, endpoints=endpoints))
        made = await app.call("PUT", example.path, example.body)
        assert made.status == 200, made.body
        answer = await app.search(index, search_with(example.inference_id))
        scores = await engine.scores(name, "flesh-eating bad guy", TEXTS, instruction=instruction)
        expected = scores.values
        order = sorted(range(len(TEXTS)), key=lambda at: -expected[at])
        assert [hit["_source"]["plot"] for hit in answer.hits] == [TEXTS[at] for at in order]
        assert answer.scores == pytest.approx(normalize([expected[at] for at in order]), abs=1e-6)
        preconfigured = await app.call("GET", "/_inference/rerank/_all")
        ids = [each["inference_id"] for each in preconfigured.json()["endpoints"]]
        assert (".rerank-v1-elasticsearch" in ids) == (model_id == ".rerank-v1")


async def test_the_names_of_elastics_inference_service(
    elasticsearch: RunningElasticsearch, index: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The settings of that section give a model of this machine and a vendor's the ids that searches name."""
    section = PAGE.partition("### The names of Elastic's inference service")[2]
    written = re.findall(r"^```yaml\n(.*?)^```$", section, flags=re.MULTILINE | re.DOTALL)[0]
    monkeypatch.setenv("JINA_API_KEY", wires.KEY)
    settings = Settings.model_validate(yaml.safe_load(written))
    local, vendors = settings.endpoints
    async with AsyncExitStack() as stack:
        vendor = await stack.enter_async_context(serving(wires.JINA))
        remote = RemoteSettings(
            allowed_hosts=("vendors", "127.0.0.1"),
            allow_private_addresses=True,
            base_urls={"jinaai": vendor.url},
        )
        (name,) = settings.models
        models = {name: {"source": build("xlm-roberta", tmp_path / "tiny")}}
        engine = await stack.enter_async_context(running(models))
        endpoints = await stack.enter_async_context(endpoints_over(engine, settings, remote))
        app = await stack.enter_async_context(search_app(elasticsearch.url, endpoints=endpoints))
        for inference_id, calls in ((local, 0), (vendors, 1)):
            answer = await app.search(index, search_with(inference_id))
            assert len(answer.hits) == len(TEXTS)
            assert answer.headers["X-Rerank"].startswith(f"applied; endpoint={inference_id}; ")
            assert len(vendor.seen) == calls
