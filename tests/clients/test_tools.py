"""Tools that people use Elasticsearch with put films in through the proxy, and get them out reranked."""

import json
import subprocess
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import pytest

from testbed import RunningElasticsearch
from testbed.http import Server
from testbed.proxy import RunningProxy
from tests.clients.environments import Environment, clean_environ, copy_of, needs, python_with
from tests.clients.expected import QUESTION
from tests.clients.installed import PROGRAMS
from tests.clients.table import TOOLS, Tool
from tests.live.conftest import MakeIndex
from tests.support.pages import read
from tests.support.project import ROOT

pytestmark = pytest.mark.timeout(1800)

FILMS: Final = ROOT / "demo" / "films.json"
PYTHON: Final = [tool for tool in TOOLS if (PROGRAMS / tool.folder / "program.py").exists()]


@pytest.fixture
def films() -> list[Mapping[str, Any]]:
    return list(json.loads(read(FILMS)))


@pytest.fixture
def index(elasticsearch: RunningElasticsearch) -> Iterator[str]:
    """Name an index for a tool, and remove what it made."""
    name = f"tool-{uuid.uuid4().hex[:12]}"
    yield name
    elasticsearch.server.call("DELETE", f"/{name}?ignore_unavailable=true")


def best_titles(server: Server, index: str) -> list[str]:
    """Return the titles that plots alone put first, without a tool."""
    reranker = {
        "retriever": {"standard": {"query": {"match_all": {}}}},
        "field": "plot",
        "inference_text": QUESTION,
        "rank_window_size": 20,
    }
    body = {"size": 5, "retriever": {"text_similarity_reranker": reranker}}
    reply = server.call("POST", f"/{index}/_search", body)
    assert reply.status == 200, reply.body
    return [hit["_source"]["title"] for hit in reply.json()["hits"]["hits"]]


def run(*command: str | Path, **environ: str) -> str:
    done = subprocess.run(
        command, env={**clean_environ(), **environ}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize("tool", PYTHON, ids=lambda tool: tool.title)
def test_a_store(
    tool: Tool, proxy: RunningProxy, make_index: MakeIndex, index: str, films: list[Mapping[str, Any]]
) -> None:
    environment = python_with(f"{tool.package}=={tool.version}").made()
    output = run(
        environment / "bin" / "python",
        PROGRAMS / tool.folder / "program.py",
        ES_URL=proxy.server.url,
        INDEX=index,
        FILMS=str(FILMS),
        QUESTION=QUESTION,
    )
    titles = best_titles(proxy.server, make_index(films))
    assert json.loads(output) == {"found": True, "titles": titles}


def elasticdump(tool: Tool) -> Environment:
    options = ("--no-audit", "--no-fund", "--no-package-lock")
    install = (needs("npm"), "install", *options, f"{tool.package}@{tool.version}")
    return copy_of(PROGRAMS / tool.folder, f"{tool.package}-{tool.version}", install)


def test_a_dump(
    proxy: RunningProxy,
    make_index: MakeIndex,
    index: str,
    films: list[Mapping[str, Any]],
    tmp_path: Path,
) -> None:
    (tool,) = (tool for tool in TOOLS if tool.package == "elasticdump")
    made = elasticdump(tool).made()
    source, url = make_index(films), proxy.server.url
    program, binaries = made / "program.sh", made / "node_modules" / ".bin"
    paths = {"PATH": f"{binaries}:{clean_environ()['PATH']}"}
    run("sh", program, tmp_path / "dump", f"{url}/{source}", f"{url}/{index}", **paths)
    assert proxy.server.call("POST", f"/{index}/_refresh").status == 200
    assert best_titles(proxy.server, index) == best_titles(proxy.server, source)


def test_each_tool_is_run() -> None:
    others = {tool.folder for tool in TOOLS} - {tool.folder for tool in PYTHON}
    assert others == {"elasticdump", "tests/live/test_eland.py"}
