"""`python -m demo`, as a newcomer runs it, on the Elasticsearch of the other tests."""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from click.testing import CliRunner

from demo.films import EXPECTED_FIRST, INDEX, remove_films
from demo.load import main
from testbed import RunningElasticsearch
from tests.support.raw_http import TIMEOUT_S

_REPOSITORY = Path(__file__).parents[2]

pytestmark = pytest.mark.timeout(400)  # starts a proxy, which loads torch, and perhaps Elasticsearch


@pytest.fixture
def ports() -> tuple[int, int]:
    """Return two ports that are free now."""
    with ExitStack() as stack:
        probes = [stack.enter_context(socket.socket()) for _ in range(2)]
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        port, admin_port = (probe.getsockname()[1] for probe in probes)
        return port, admin_port


@contextmanager
def _demo(
    elasticsearch: RunningElasticsearch, ports: tuple[int, int], *arguments: str
) -> Iterator["subprocess.Popen[str]"]:
    """Run the demo, and make sure that it has ended after the block."""
    with subprocess.Popen(
        [sys.executable, "-m", "demo", f"--port={ports[0]}", f"--admin-port={ports[1]}", *arguments],
        cwd=_REPOSITORY,
        env={**os.environ, "ES_URL": elasticsearch.url, "COLUMNS": "200"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def _ranked(output: str) -> list[str]:
    """Return the titles of the table, in its order."""
    return re.findall(r"^│ +\d+ │ (.*?) +│", output, re.MULTILINE)


@pytest.mark.every_version("long")
def test_once_shows_the_comparison_and_ends(
    elasticsearch: RunningElasticsearch, ports: tuple[int, int]
) -> None:
    with _demo(elasticsearch, ports, "--once") as process:
        output, errors = process.communicate(timeout=TIMEOUT_S)
    assert process.returncode == 0, errors
    assert _ranked(output)[0] == EXPECTED_FIRST
    assert len(_ranked(output)) == 10
    assert re.search(rf"│ +1 │ {EXPECTED_FIRST} +│ +1\.\d{{4}} │ +▲ \d ", output)
    outcome = "applied; endpoint=.rerank-v1-elasticsearch; model=minilm; window=10; scored=10; cached=0;"
    assert f"\nX-Rerank  {outcome}" in output
    assert "all-MiniLM-L6-v2" in output
    assert "It is not Elastic Rerank" in output
    assert elasticsearch.server.call("HEAD", f"/{INDEX}").status == 404


def test_what_it_offers_to_try_works_until_ctrl_c(
    elasticsearch: RunningElasticsearch, ports: tuple[int, int]
) -> None:
    with _demo(elasticsearch, ports) as process:
        assert process.stdout is not None
        output = ""
        for line in process.stdout:
            output += line
            if line.startswith("Serving until Ctrl-C"):
                break
        curl, python = re.findall(r"^With \w+\n(.*?)\n\n", output, re.MULTILINE | re.DOTALL)
        if shutil.which("curl"):
            first = json.loads(_run(curl))["hits"]["hits"][0]
            assert first["_source"] == {"title": EXPECTED_FIRST}
        if elasticsearch.major == 9:  # the major version of the client that is installed here
            assert _run(python).splitlines() == _ranked(output)
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 0
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", ports[0])) != 0
    assert elasticsearch.server.call("HEAD", f"/{INDEX}").status == 404


def test_the_films_can_be_loaded_alone(elasticsearch: RunningElasticsearch) -> None:
    """As compose.yaml does it, in a container whose packages are those of the project."""
    try:
        loaded = CliRunner().invoke(main, [elasticsearch.url, "http://localhost:9201"])
        assert loaded.exit_code == 0, loaded.output
        count = elasticsearch.server.call("GET", f"/{INDEX}/_count").json()["count"]
        assert loaded.output.startswith(f"{count} films are in the index {INDEX}.")
        assert f"curl -s 'http://localhost:9201/{INDEX}/_search?pretty'" in loaded.output
    finally:
        remove_films(elasticsearch.server)


def _run(command: str) -> str:
    return subprocess.run(
        ["sh", "-c", command], cwd=_REPOSITORY, capture_output=True, text=True, check=True, timeout=TIMEOUT_S
    ).stdout


def test_a_taken_port_is_one_line_with_the_remedy(
    elasticsearch: RunningElasticsearch, ports: tuple[int, int]
) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", ports[1]))
        taken.listen()
        with _demo(elasticsearch, ports, "--once") as process:
            output, errors = process.communicate(timeout=TIMEOUT_S)
    assert process.returncode == 1
    assert output == ""
    assert re.fullmatch(
        rf"port {ports[1]} cannot be used \(.*\): choose another, as in `make demo ADMIN_PORT=\d+`, .*\n",
        errors,
    )
