"""The program of docs/moving.md, which makes endpoints of the proxy anew elsewhere."""

import re
import subprocess
import sys
from textwrap import dedent
from typing import Final

from elasticsearch import Elasticsearch

from testbed import RunningElasticsearch
from testbed.proxy import RunningProxy
from tests.support.pages import read
from tests.support.project import ROOT

PAGE: Final = read(ROOT / "docs" / "moving.md")
NAME: Final = "moving-page"


def program(url: str) -> str:
    """Return the page's program, from a proxy to itself: under other names, and of one endpoint alone."""
    (found,) = re.findall(r"^ +```python\n(.*?)^ +```$", PAGE, re.MULTILINE | re.DOTALL)
    changes = {
        r"http://localhost:\d+": url,
        r'name\.startswith\("\."\)': f'name != "{NAME}"',
        r"inference_id=name": 'inference_id=f"{name}-moved"',
    }
    changed = dedent(found)
    for pattern, replacement in changes.items():
        changed, count = re.subn(pattern, replacement, changed)
        assert count
    return changed


def test_an_endpoint_is_made_as_it_was(elasticsearch: RunningElasticsearch, proxy: RunningProxy) -> None:
    config = {
        "service": "elasticsearch",
        "service_settings": {"model_id": "minilm", "num_allocations": 1, "num_threads": 1},
        "task_settings": {"return_documents": False},
    }
    with Elasticsearch(proxy.server.url, request_timeout=60) as client:
        client.inference.put(task_type="rerank", inference_id=NAME, inference_config=config)
        subprocess.run([sys.executable, "-c", program(proxy.server.url)], check=True)
        made = client.inference.get(inference_id=f"{NAME}-moved")["endpoints"][0]
        for name in (NAME, f"{NAME}-moved"):
            client.inference.delete(inference_id=name)
    assert {part: made[part] for part in config} == config
