"""The commands given to Docker, recorded by a program in place of `docker`.

`compose up` of that program serves what the official image would answer, in the foreground, until SIGTERM.
"""

import os
import sys
from pathlib import Path

import pytest
from rich.console import Console

from testbed import docker
from testbed.errors import TestbedError
from testbed.progress import Reporter
from testbed.releases import RELEASES

_RELEASE = RELEASES[0]
_DOCKER = """#!{python} -IS
import json, os, sys
from http.server import BaseHTTPRequestHandler, HTTPServer
with open({notes!r}, "a") as notes:
    print(os.environ.get("ELASTICSEARCH_VERSION"), *sys.argv[1:], file=notes)
class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        body = json.dumps({{"status": "green", "version": {{"number": os.environ["ELASTICSEARCH_VERSION"]}}}})
        self.send_response(200)
        self.send_header("X-elastic-product", "Elasticsearch")
        self.end_headers()
        self.wfile.write(body.encode())
if "up" in sys.argv:
    {on_up}
    HTTPServer(("127.0.0.1", int(os.environ["ELASTICSEARCH_PORT"])), Handler).serve_forever()
if "version" in sys.argv:
    sys.exit({version_status})
if "pull" in sys.argv:
    print("denied: no such image")
    sys.exit(1)
"""


def _install(
    directory: Path, monkeypatch: pytest.MonkeyPatch, *, on_up: str = "pass", version_status: int = 0
) -> Path:
    """Put the program on the path. Return the file that records its calls."""
    notes = directory / "notes"
    program = directory / "docker"
    program.write_text(
        _DOCKER.format(python=sys.executable, notes=str(notes), on_up=on_up, version_status=version_status)
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{directory}:{os.environ['PATH']}")
    return notes


@pytest.fixture
def reporter() -> Reporter:
    return Reporter(Console(quiet=True))


def test_a_client_without_an_engine_does_not_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _install(tmp_path, monkeypatch, version_status=1)
    assert not docker.engine_answers()


def test_an_engine_counts_with_compose(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    notes = _install(tmp_path, monkeypatch)
    assert docker.engine_answers()
    assert notes.read_text() == "None version --format {{.Server.Version}}\nNone compose version\n"


def test_no_docker_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert not docker.engine_answers()


def test_the_service_runs_for_the_length_of_the_block(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reporter: Reporter
) -> None:
    notes = _install(tmp_path, monkeypatch)
    compose = f"{_RELEASE.version} compose --file {docker.COMPOSE_FILE} --project-name rerank-proxy-testbed-"
    with docker.container(_RELEASE, reporter) as elasticsearch:
        assert elasticsearch.version == _RELEASE.version
        (up,) = notes.read_text().splitlines()
        assert up.startswith(compose)
        assert up.endswith(" up --no-deps --no-log-prefix --no-color elasticsearch")
    up, down = notes.read_text().splitlines()
    assert down.startswith(compose)
    assert down.endswith(" down --volumes --timeout 10")
    with pytest.raises(OSError, match="refused"):
        elasticsearch.server.call("GET", "/")


def test_a_container_that_ends_is_one_line_and_the_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reporter: Reporter
) -> None:
    notes = _install(tmp_path, monkeypatch, on_up="print('port is allocated'); sys.exit(1)")
    with (
        pytest.raises(TestbedError, match=r"ended with status 1: .*set ES_SOURCE") as caught,
        docker.container(_RELEASE, reporter),
    ):
        pytest.fail("it never ran")
    assert caught.value.details == "port is allocated"
    assert notes.read_text().splitlines()[-1].endswith(" down --volumes --timeout 10")


def test_an_image_that_cannot_be_pulled_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reporter: Reporter
) -> None:
    _install(tmp_path, monkeypatch)
    with pytest.raises(
        TestbedError, match=r"^Docker cannot pull Elasticsearch .*: check the network"
    ) as caught:
        docker.pull(_RELEASE, reporter)
    assert "denied" in caught.value.details
