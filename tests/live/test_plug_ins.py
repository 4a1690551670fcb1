"""The example package of docs/plug-ins.md, installed and served."""

import asyncio
import json
import os
import re
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import pytest

from testbed import RunningElasticsearch
from testbed.proxy import RunningProxy
from tests.support.pages import read
from tests.support.project import ROOT
from tests.support.raw_http import TIMEOUT_S
from tests.support.vendors import Wire, serving
from tests.support.vendors.wires import BEARER, KEY, error_text, plain, positive, texts

PACKAGE: Final = ROOT / "tests" / "support" / "example_plugin"
PAGE: Final = read(ROOT / "docs" / "plug-ins.md")

ACME: Final = Wire(
    path="/rank",
    headers=BEARER,
    required={"model": str, "question": str, "candidates": texts},
    optional={"limit": positive},
    asked=lambda body: plain("candidates", "limit")({**body, "query": body["question"]}),
    answer=lambda asked, pairs: {"ranking": [{"at": index, "value": value} for index, value in pairs]},
    refusal=error_text,
)


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Install the package on the path of processes that are started here."""
    target = tmp_path_factory.mktemp("site")
    subprocess.run(
        [
            *(Path(sys.executable).parent / "uv", "pip", "install", "--quiet", "--python", sys.executable),
            *("--target", target, "--no-deps", "--no-build-isolation", PACKAGE),
        ],
        check=True,
        timeout=TIMEOUT_S,
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join([str(target), os.environ.get("PYTHONPATH", "")]))
        yield


def call(proxy: RunningProxy, method: str, path: str, body: Mapping[str, Any] | None = None) -> Any:
    answer = proxy.server.call(method, path, body)
    return answer.status, answer.json()


@asynccontextmanager
async def serving_with_plug_ins(
    elasticsearch: RunningElasticsearch, directory: Path, **remote: Any
) -> AsyncIterator[RunningProxy]:
    """Run the whole proxy, as the page configures it."""
    models = directory / "shared"
    models.mkdir()
    (models / "ignored.txt").write_text("the a\n")
    (yaml_block,) = re.findall(r"^```yaml\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    config = directory / "rerank-proxy.yaml"
    settings = yaml_block.replace("/models/shared", str(models))
    config.write_text(f"{settings}\nremote: {json.dumps(remote)}\n")
    with RunningProxy(elasticsearch.url, options=["--config", str(config)]) as proxy:
        await asyncio.to_thread(proxy.wait_ready)
        yield proxy


@pytest.mark.usefixtures("installed")
async def test_a_service_of_another_package(elasticsearch: RunningElasticsearch, tmp_path: Path) -> None:
    (http_block,) = re.findall(r"^```http\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    line, _, text = http_block.partition("\n")
    put = json.loads(text.replace("<api key>", KEY))
    path = "/" + line.split()[1]
    async with (
        serving(ACME) as vendor,
        serving_with_plug_ins(
            elasticsearch, tmp_path, base_urls={"acme": vendor.url}, allow_private_addresses=True
        ) as proxy,
    ):
        status, made = await asyncio.to_thread(call, proxy, "PUT", path, put)
        assert (status, made["service"]) == (200, "acme")
        assert made["service_settings"] == {
            "model_id": "acme-1",
            "rate_limit": {"requests_per_minute": 600},
        }
        request = {"query": "q", "input": ["a 1", "b 4", "c 2", "d 5", "e 3"], "top_n": 3}
        _, ranked = await asyncio.to_thread(call, proxy, "POST", path, request)
        assert [doc["index"] for doc in ranked["rerank"]] == [1 + 2, 1, 4]
        assert [len(each["candidates"]) for each in vendor.seen] == [1, 3, 2]  # the first one tried it
        assert proxy.metric("rerank_proxy_remote_calls_total", service="acme", outcome="2xx") == 3
        _, catalogue = await asyncio.to_thread(call, proxy, "GET", "/_inference/_services/rerank")
        (row,) = [row for row in catalogue if row["service"] == "acme"]
        assert row["configurations"]["api_key"]["sensitive"] is True
        bad = {**put, "service_settings": {"api_key": KEY}}
        status, refused = await asyncio.to_thread(call, proxy, "PUT", path + "-2", bad)
        assert (status, refused["error"]["type"]) == (400, "validation_exception")
        assert "the required setting [model_id]" in refused["error"]["reason"]


@pytest.mark.usefixtures("installed")
async def test_a_backend_of_another_package(elasticsearch: RunningElasticsearch, tmp_path: Path) -> None:
    path = "/_inference/.rerank-v1-elasticsearch"
    request = {"query": "the big cat", "input": ["a small cat", "the dog", "the big cat"]}
    async with serving_with_plug_ins(elasticsearch, tmp_path) as proxy:
        for _ in range(2):
            status, ranked = await asyncio.to_thread(call, proxy, "POST", path, request)
            assert status == 200
            scores = {doc["index"]: doc["relevance_score"] for doc in ranked["rerank"]}
            assert scores == {0: 1.0, 1: 0.0, 2: 2.0}
        assert proxy.metric("rerank_proxy_engine_cache_hits_total", model="shared") == 3


def test_the_page_shows_the_package() -> None:
    included = re.findall(
        r"<!-- included: (\S+) -->\n\n```python\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL
    )
    assert len(included) == 2
    for name, text in included:
        assert text == read(ROOT / name)
        assert len(text.splitlines()) <= 35
    (toml,) = re.findall(r"^```toml\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    assert toml.strip() in read(PACKAGE / "pyproject.toml")
