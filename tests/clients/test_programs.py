"""Each client's program takes its steps at Elasticsearch, and at the proxy in front of it."""

import json
import subprocess
import uuid
from collections.abc import Iterator, Mapping
from typing import Any, Final

import pytest

from testbed import RunningElasticsearch
from testbed.http import Server
from testbed.proxy import RunningProxy
from tests.clients.environments import clean_environ
from tests.clients.expected import RERANKED, SEARCH, Facts, expected, found
from tests.clients.installed import Installed, installed
from tests.clients.table import CLIENTS, Client, Mode
from tests.support.pages import read
from tests.support.project import ROOT

pytestmark = [pytest.mark.every_version, pytest.mark.timeout(1800)]

FILMS: Final = ROOT / "demo" / "films.json"


@pytest.fixture
def index(elasticsearch: RunningElasticsearch) -> Iterator[str]:
    """Name an index for a program, and remove what it made."""
    name = f"client-{uuid.uuid4().hex[:12]}"
    yield name
    elasticsearch.server.call("DELETE", f"/{name}?ignore_unavailable=true")


def run(program: Installed, client: Client, environ: Mapping[str, str]) -> dict[str, Any]:
    """Run a program. Return its line for each step."""
    directory = program.environment.made()
    first, *others = program.command
    command = (directory / first if "/" in first else first, *others, *client.arguments)
    done = subprocess.run(
        command,
        cwd=directory,
        env={**clean_environ(), **environ},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    return {line["step"]: line.get("result", line.get("error")) for line in lines}


def facts(elasticsearch: RunningElasticsearch, server: Server, index: str, mode: Mode) -> Facts:
    films = json.loads(read(FILMS))
    best = RERANKED if mode == "proxy" else SEARCH
    plain = found(elasticsearch.server, index, SEARCH)
    return Facts(elasticsearch.version, index, films, plain, found(server, index, best))


@pytest.mark.parametrize("mode", ["direct", "proxy"])
@pytest.mark.parametrize("tested", CLIENTS, ids=str)
def test_each_step(
    tested: Client,
    mode: Mode,
    elasticsearch: RunningElasticsearch,
    proxy: RunningProxy,
    secure: Mapping[str, str],
    index: str,
) -> None:
    server = proxy.server if mode == "proxy" else elasticsearch.server
    tls = secure if mode == "proxy" else {}
    environ = {
        "ES_URL": server.url,
        "INDEX": index,
        "FILMS": str(FILMS),
        "RERANK": "1" if mode == "proxy" else "",
        **tls,
    }
    reported = run(installed(tested), tested, environ)
    known = facts(elasticsearch, server, index, mode)
    steps = tested.steps(mode, tls=bool(tls))
    assert reported == {step: expected(step, known) for step in steps}
    assert mode == "direct" or known.best != known.plain
