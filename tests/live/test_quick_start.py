"""The requests of docs/quick-start.md, as they are copied into a shell."""

import re
import subprocess
from typing import Final
from urllib.parse import urlsplit

from testbed import RunningElasticsearch
from testbed.proxy import RunningProxy
from tests.clients.environments import needs
from tests.support.pages import read
from tests.support.project import ROOT

PAGE: Final = read(ROOT / "docs" / "quick-start.md")
REQUESTS: Final = [
    block
    for block in re.findall(r"^```sh\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    if block.startswith("curl")
]


def test_it_leads_to_a_reranked_search(elasticsearch: RunningElasticsearch, proxy: RunningProxy) -> None:
    needs("curl")
    answers = []
    for request in REQUESTS:
        for port, server in (("9201", proxy.server), ("9202", proxy.admin)):
            request = request.replace(f"localhost:{port}", urlsplit(server.url).netloc)
        done = subprocess.run(["sh", "-c", request], capture_output=True, text=True, check=True)
        answers.append(done.stdout)
    ready, indexed, plain, reranked, deleted = answers
    assert '"ready":true' in ready
    assert '"errors":false' in indexed
    titles = [re.findall(r'"title":"(.*?)"', answer) for answer in (plain, reranked)]
    assert [found[0] for found in titles] == ["Goodfellas", "The Silence of the Lambs"]
    assert {*titles[0]} == {*titles[1]}
    assert re.search(r"^X-Rerank: applied; .* window=3; scored=3; ", reranked, re.MULTILINE)
    assert deleted == '{"acknowledged":true}'
