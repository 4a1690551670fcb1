"""Choose where an Elasticsearch comes from."""

from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from testbed import docker
from testbed.errors import TestbedError
from testbed.http import Server, basic
from testbed.source import Given, choose, sources


class _Root(BaseHTTPRequestHandler):
    """Serve `GET /` like an Elasticsearch 9.4.1 with a password."""

    def do_GET(self) -> None:
        allowed = self.headers["Authorization"] == basic("elastic", "p@ss")
        self.send_response(200 if allowed else 401)
        self.send_header("X-elastic-product", "Elasticsearch")
        self.end_headers()
        self.wfile.write(b'{"version": {"number": "9.4.1"}}')

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  (the name that the base class gave)
        pass


@pytest.fixture
def address() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), _Root) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        yield f"127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.fixture(autouse=True)
def bare_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Provide no Docker engine, and only the Java that a test names."""
    monkeypatch.setattr(docker, "engine_answers", lambda: False)
    monkeypatch.setattr("testbed.jdks._PLACES", ())
    monkeypatch.setattr("testbed.source.unprivileged_account", lambda: None)


def _environ(tmp_path: Path, *, mvn: bool = False, java: int | None = None, **more: str) -> dict[str, str]:
    """Return an environment with or without `mvn` and a JDK."""
    programs = tmp_path / "bin"
    programs.mkdir()
    environ = {"PATH": str(programs), **more}
    if mvn:
        (programs / "mvn").touch(mode=0o755)
    if java:
        home = tmp_path / "jdk"
        (home / "bin").mkdir(parents=True)
        (home / "bin" / "javac").touch(mode=0o755)
        (home / "release").write_text(f'JAVA_VERSION="{java}.0.1"\n')
        environ["JAVA_HOME"] = str(home)
    return environ


def test_es_url_wins_and_nothing_else_is_looked_for(tmp_path: Path, address: str) -> None:
    environ = _environ(tmp_path, mvn=True, java=25, ES_URL=f"http://elastic:p%40ss@{address}/")
    assert sources(environ) == [Given(Server(f"http://{address}", basic("elastic", "p@ss")), "9.4.1")]


def test_es_url_of_another_version_than_asked_for(tmp_path: Path, address: str) -> None:
    environ = _environ(tmp_path, ES_URL=f"http://elastic:p%40ss@{address}")
    assert choose("9.4.1", environ).version == "9.4.1"
    with pytest.raises(TestbedError, match=r"^Elasticsearch 9\.5\.0 .* \(available: 9\.4\.1\)"):
        choose("9.5.0", environ)


def test_es_url_without_its_password(tmp_path: Path, address: str) -> None:
    with pytest.raises(
        TestbedError, match=r"needs credentials: set ES_URL to http://USER:PASSWORD@HOST:PORT$"
    ):
        sources(_environ(tmp_path, ES_URL=f"http://{address}"))


@pytest.mark.parametrize(
    "url", ["localhost:9200", "ftp://h", "http://", "http://h/path", "http://u:secret@h/p"]
)
def test_es_url_that_is_none(tmp_path: Path, url: str) -> None:
    with pytest.raises(TestbedError, match="is not http://") as caught:
        sources(_environ(tmp_path, ES_URL=url))
    assert "secret" not in str(caught.value)


def test_es_url_where_nothing_listens(tmp_path: Path) -> None:
    with pytest.raises(TestbedError, match=r"^no Elasticsearch answers at http://127\.0\.0\.1:9 .*refused"):
        sources(_environ(tmp_path, ES_URL="http://127.0.0.1:9"))


def test_a_docker_engine_comes_next(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(docker, "engine_answers", lambda: True)
    environ = _environ(tmp_path, mvn=True, java=25)
    assert [type(source).__name__ for source in sources(environ)] == ["Container", "Container"]
    assert type(choose(None, {**environ, "ES_SOURCE": "maven"})).__name__ == "Unpacked"


@pytest.mark.parametrize(("java", "versions"), [(25, ["9.5.0", "8.19.21"]), (17, ["8.19.21"])])
def test_maven_takes_what_the_jdk_runs(tmp_path: Path, java: int, versions: list[str]) -> None:
    offered = sources(_environ(tmp_path, mvn=True, java=java, ES_SOURCE="maven"))
    assert [source.version for source in offered] == versions


@pytest.mark.parametrize(("mvn", "java"), [(False, 25), (True, None), (True, 11)])
def test_else_the_download_brings_its_own_java(tmp_path: Path, mvn: bool, java: int | None) -> None:
    environ = _environ(tmp_path, mvn=mvn, java=java)
    assert [source.version for source in sources(environ)] == ["9.5.0"]
    with pytest.raises(TestbedError, match=r"^ES_SOURCE=maven is not available here: start"):
        sources({**environ, "ES_SOURCE": "maven"})


def test_a_version_is_looked_for_in_every_place(tmp_path: Path) -> None:
    environ = _environ(tmp_path, mvn=True, java=17)
    assert choose(None, environ).version == "8.19.21"
    assert choose("9.5.0", environ).version == "9.5.0"


def test_an_unknown_place_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(TestbedError, match=r"^ES_SOURCE=brew is unknown: choose docker, maven, download$"):
        sources(_environ(tmp_path, ES_SOURCE="brew"))
