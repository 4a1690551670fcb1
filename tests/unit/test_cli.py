"""The command line: its options are the table of settings, its errors are one line on standard error."""

import asyncio
import json
import logging
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from rerank_proxy.cli import main, models
from rerank_proxy.cli.check import run_checks
from rerank_proxy.engine.loading import loader
from rerank_proxy.search.ranks.scores import normalize
from rerank_proxy.settings import load as load_settings
from tests.support.raw_http import TIMEOUT_S
from tests.support.stores import endpoint, open_file_store
from tests.support.tiny_models import build


def run(*arguments: str, environ: dict[str, str] | None = None) -> Result:
    return CliRunner().invoke(main, list(arguments), env=environ)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--listen", "nowhere"], "[listen]: expected HOST:PORT, for example 127.0.0.1:9201, not [nowhere]"),
        (
            ["--upstream", "ftp://x"],
            "[upstream.url]: expected http://HOST:PORT or https://HOST:PORT, not [ftp://x]",
        ),
        (["--search-timeout-s", "0"], "[search.timeout_s]: must be greater than 0, not [0]"),
        (["--config", "/nowhere.yaml"], "/nowhere.yaml: cannot be read: No such file or directory"),
        (["--model", "minilm"], "--model minilm: expected NAME=VALUE"),
        (["--model", "=x"], "--model =x: expected NAME=VALUE"),
        (["--endpoint", "e="], "--endpoint e=: expected NAME=VALUE"),
        (["--endpoint", "e=m"], "[endpoints.e.model]: no model [m] under [models]; none is configured"),
        (["--model", "m=x", "--model", "m=y"], "--model m=y: [m] is given twice"),
    ],
)
@pytest.mark.parametrize("command", ["serve", "check"])
def test_bad_settings_end_with_2_and_one_line(command: str, arguments: list[str], message: str) -> None:
    result = run(command, *arguments)
    assert result.exit_code == 2
    assert result.stdout == ""
    assert result.stderr == f"rerank-proxy: {message}\n"


@pytest.mark.parametrize("scheme", ["https", "http"])
@pytest.mark.parametrize("command", ["serve", "check"])
def test_a_file_that_a_setting_names_is_one_of_them(tmp_path: Path, scheme: str, command: str) -> None:
    """It must exist even if it is not needed, because the settings name it."""
    ca_certs = tmp_path / "ca.pem"
    arguments = [command, "--upstream", f"{scheme}://127.0.0.1:1", "--upstream-ca-certs", str(ca_certs)]
    problems = {
        None: "cannot be read: No such file or directory",
        "not PEM": "holds no certificates in PEM",
        "": "holds no certificates in PEM",
    }
    for content, problem in problems.items():
        if content is not None:
            ca_certs.write_text(content)
        result = run(*arguments)
        assert result.exit_code == 2
        assert result.stderr == f"rerank-proxy: [upstream.ca_certs]: {ca_certs}: {problem}\n"


def test_unknown_options_end_with_2() -> None:
    result = run("serve", "--upstrem", "http://x:1")
    assert result.exit_code == 2
    assert "No such option '--upstrem'" in result.stderr
    assert "'--upstream'" in result.stderr


def test_bad_variables_end_with_2() -> None:
    result = run("serve", environ={"RERANK_PROXY_LISTN": "x"})
    assert (result.exit_code, result.stderr) == (
        2,
        "rerank-proxy: RERANK_PROXY_LISTN: unknown variable, did you mean RERANK_PROXY_LISTEN?\n",
    )


@pytest.mark.parametrize("command", ["serve", "check"])
def test_each_fault_has_a_line(tmp_path: Path, command: str) -> None:
    """Faults of values come first; the files they name are only checked if all values are valid."""
    path = tmp_path / "settings.yaml"
    path.write_text("lisen: x\nengine: {threads: many}\n")
    result = run(command, "--config", str(path), environ={"RERANK_PROXY_EDG__MAX_BODY": "1MiB"})
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.splitlines() == [
        "rerank-proxy: RERANK_PROXY_EDG__MAX_BODY: unknown variable, did you mean "
        "RERANK_PROXY_EDGE__MAX_BODY?",
        f"rerank-proxy: {path}:2:10: [engine.threads]: expected a whole number, not [many]",
        f"rerank-proxy: {path}:1:1: [lisen]: unknown setting, did you mean [listen]?",
    ]
    path.write_text(
        "upstream: {url: http://h, ca_certs: /absent.pem}\n"
        "registry: {key_file: /absent.key}\n"
        "endpoints:\n"
        "  a: {service: cohre, service_settings: {x: y}}\n"
        "  b: {service: cohere, service_settings: {model_id: m, api_key: {env: ABSENT}}}\n"
    )
    result = run(command, "--config", str(path))
    assert (result.exit_code, result.stdout) == (2, "")
    told = result.stderr.splitlines()
    assert len(told) == 4
    for line, fault in zip(
        told, ("[upstream.ca_certs]", "[registry.key_file]", "[endpoints.a", "[endpoints.b"), strict=True
    ):
        assert line.startswith(f"rerank-proxy: {fault}")


def test_the_file_may_be_named_by_the_environment(tmp_path: Path) -> None:
    path = tmp_path / "settings.yaml"
    path.write_text("listen: x\n")
    result = run("serve", environ={"RERANK_PROXY_CONFIG": str(path)})
    assert result.exit_code == 2
    assert result.stderr.startswith(f"rerank-proxy: {path}:1:1: [listen]: expected HOST:PORT")


def test_it_is_a_module_as_well() -> None:
    environ = {name: value for name, value in os.environ.items() if not name.startswith("RERANK_PROXY_")}
    command: list[Any] = [sys.executable, "-X", "importtime", "-m", "rerank_proxy", "serve", "--listen", "x"]
    done = subprocess.run(
        command, capture_output=True, text=True, env=environ, timeout=TIMEOUT_S, check=False
    )
    assert done.returncode == 2
    assert done.stdout == ""
    (fault,) = [line for line in done.stderr.splitlines() if not line.startswith("import time: ")]
    assert fault.startswith("rerank-proxy: [listen]: expected HOST:PORT")
    imported = {line.rpartition("|")[2].strip().partition(".")[0] for line in done.stderr.splitlines()}
    assert "click" in imported
    assert not imported & {"rich", "rich_click", "torch", "transformers"}  # which take their time


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build("bert", tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture(autouse=True)
def no_variables(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in os.environ:
        if name.startswith("RERANK_PROXY_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state-home"))


TEXTS = ("a river over its banks", "seven beans", "the proxy forwards every request")


def scored(result: Result) -> list[tuple[float, str]]:
    assert (result.exit_code, result.stderr) == (0, "")
    pairs = [line.split("\t") for line in result.stdout.splitlines()]
    return [(float(score), text) for score, text in pairs]


class TestRerank:
    def test_texts_are_scored_best_first(self, model: Path) -> None:
        raw = scored(run("rerank", "--query", "water", "--model", str(model), "--raw", *TEXTS))
        assert sorted(text for _, text in raw) == sorted(TEXTS)
        assert raw == sorted(raw, reverse=True)
        normalised = scored(run("rerank", "--query", "water", "--model", str(model), *TEXTS))
        expected = normalize([score for score, _ in raw]).tolist()
        assert [text for _, text in normalised] == [text for _, text in raw]
        assert [score for score, _ in normalised] == pytest.approx(expected, rel=1e-6)

    @pytest.mark.parametrize("dash", [(), ("-",)])
    def test_texts_come_from_standard_input_too(self, model: Path, dash: tuple[str, ...]) -> None:
        given = run("rerank", "--query", "water", "--model", str(model), *TEXTS)
        command = ["rerank", "--query", "water", "--model", str(model), *dash]
        piped = CliRunner().invoke(main, command, input="\r\n".join(TEXTS).encode())
        assert scored(piped) == scored(given)
        broken = CliRunner().invoke(main, command, input=b"caf\xe9\n")
        assert [text for _, text in scored(broken)] == ["caf\ufffd"]
        assert scored(CliRunner().invoke(main, command, input=b"")) == []

    @pytest.mark.parametrize("blank", [b"\n", b"\r\n", b" \n", b"\t\r\n", b" "])
    def test_blank_lines_are_not_texts(self, model: Path, blank: bytes) -> None:
        command = ["rerank", "--query", "water", "--model", str(model)]
        piped = CliRunner().invoke(main, command, input=blank.join([b"", b"one\n", b"two\n", b""]))
        assert sorted(text.strip() for _, text in scored(piped)) == ["one", "two"]

    def test_a_byte_order_mark_is_not_part_of_the_first_text(self, model: Path) -> None:
        command = ["rerank", "--query", "water", "--model", str(model)]
        assert [
            text for _, text in scored(CliRunner().invoke(main, command, input=b"\xef\xbb\xbfone\n"))
        ] == ["one"]

    def test_json(self, model: Path) -> None:
        command = ("rerank", "--query", "water", "--model", str(model))
        printed = json.loads(run(*command, "--json", *TEXTS).stdout)
        assert [(row["score"], row["text"]) for row in printed] == scored(run(*command, *TEXTS))
        assert all(TEXTS[row["index"]] == row["text"] for row in printed)

    def test_a_model_of_the_settings(self, model: Path, tmp_path: Path) -> None:
        config = tmp_path / "settings.yaml"
        config.write_text(f"models: {{tiny: {{source: {model}, activation: sigmoid}}}}\n")
        command = ["rerank", "--query", "water", "--config", str(config), "--model", "tiny", "--raw"]
        assert all(0 < score < 1 for score, _ in scored(run(*command, *TEXTS)))

    def test_a_model_that_will_not_load(self, tmp_path: Path) -> None:
        result = run("rerank", "--query", "q", "--model", str(tmp_path / "none"), "text")
        assert result.exit_code == 1
        assert result.stdout == ""
        assert result.stderr.startswith("rerank-proxy: there is no directory [")
        assert result.stderr.count("\n") == 1


class Upstream(BaseHTTPRequestHandler):
    """Serve the health of an Elasticsearch, as the test modifies it."""

    status = 200
    product = "Elasticsearch"
    health = b'{"status":"green"}'

    def do_GET(self) -> None:
        self.send_response(self.status)
        self.send_header("X-elastic-product", self.product)
        self.send_header("content-length", str(len(self.health)))
        self.end_headers()
        self.wfile.write(self.health)

    def log_message(self, *_: Any) -> None:
        """Nothing."""


@pytest.fixture
def upstream() -> Iterator[Callable[..., str]]:
    """Starts an upstream and returns its URL."""
    servers: list[ThreadingHTTPServer] = []

    def start(**answers: Any) -> str:
        server = ThreadingHTTPServer(("127.0.0.1", 0), type("Answering", (Upstream,), answers))
        servers.append(server)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        return f"http://127.0.0.1:{server.server_port}"

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


NONE_YET = "endpoint   warning there is none yet: name one under [endpoints], or PUT _inference/rerank/ID"


def without_progress(result: Result) -> list[str]:
    """Return the lines without those of which a slow machine prints more."""
    return [line for line in result.stdout.splitlines() if not line.endswith(" s so far")]


class TestCheck:
    def test_all_is_well(self, model: Path, upstream: Callable[..., str]) -> None:
        url = upstream()
        result = run("check", "--upstream", url, "--model", f"tiny={model}", "--endpoint", "mine=tiny")
        assert result.exit_code == 0
        settings, elasticsearch, registry, loading, tiny, endpoint = without_progress(result)
        assert settings == "settings   ok      1 model, 1 endpoint"
        assert elasticsearch == f"upstream   ok      {url}, cluster is green"
        assert registry == "registry   ok      file, 0 endpoints"
        assert loading == f"model      loading tiny: {model}"
        assert tiny.startswith(f"model      ok      tiny: {model} (")
        assert endpoint == "endpoint   ok      mine is served by model tiny"
        assert result.stderr == ""

    def test_json(self, model: Path, upstream: Callable[..., str]) -> None:
        url = upstream(status=500)
        result = run("check", "--upstream", url, "--model", f"tiny={model}", "--endpoint", "e=tiny", "--json")
        assert (result.exit_code, result.stderr) == (1, "")
        printed = json.loads(result.stdout)
        assert printed["ok"] is False
        assert [(each["about"], each["outcome"]) for each in printed["checks"]] == [
            ("settings", "ok"),
            ("upstream", "failed"),
            ("registry", "ok"),
            ("model", "ok"),
            ("endpoint", "ok"),
        ]
        assert printed["checks"][1]["text"] == f"{url} answered 500, but not as Elasticsearch does"
        assert printed["versions"].keys() >= {"python", "torch", "transformers"}

    def test_a_model_that_will_not_load(self, tmp_path: Path, upstream: Callable[..., str]) -> None:
        arguments = ["--upstream", upstream(), "--model", f"bad={tmp_path}/none", "--endpoint", "mine=bad"]
        result = run("check", *arguments)
        assert result.exit_code == 1
        lines = without_progress(result)
        assert lines[3] == f"model      loading bad: {tmp_path}/none"
        assert lines[4].startswith(f"model      failed  bad: there is no directory [{tmp_path}/none]")
        assert lines[5] == "endpoint   failed  mine is served by model bad"
        assert (len(lines), result.stderr) == (6, "")

    def test_how_far_a_model_is_is_said_while_it_loads(
        self, model: Path, upstream: Callable[..., str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The model is not loaded before two such lines."""
        monkeypatch.setattr(models, "PROGRESS_S", 0.001)
        load, said = loader._load, threading.Semaphore(0)

        def slow(*arguments: Any) -> Any:
            logging.getLogger("rerank_proxy.engine.loading.sources.repository").info(
                "fetching [%s]: %d %%", "m", 40
            )
            assert said.acquire(timeout=TIMEOUT_S)
            assert said.acquire(timeout=TIMEOUT_S)
            return load(*arguments)

        def say(line: str) -> None:
            lines.append(line)
            if " s so far" in line:
                said.release()

        lines: list[str] = []
        monkeypatch.setattr(loader, "_load", slow)
        settings = load_settings(None, {"upstream": upstream(), "models": {"tiny": str(model)}}, {})
        assert asyncio.run(run_checks(settings, say))
        first, *progress = [line.removeprefix("model      loading ") for line in lines if " loading " in line]
        assert first == f"tiny: {model}"
        assert "fetching [m]: 40 %" in progress
        assert sum(line.endswith(" s so far") for line in progress) >= 2

    @pytest.mark.parametrize(
        ("store", "exit_code", "line"),
        [
            ("file", 0, NONE_YET),
            (
                "none",
                1,
                "endpoint   failed  there is none, and clients cannot create one: name one under [endpoints]",
            ),
        ],
    )
    def test_nothing_to_serve(
        self, upstream: Callable[..., str], store: str, exit_code: int, line: str
    ) -> None:
        result = run("check", "--upstream", upstream(), "--registry-store", store)
        assert result.exit_code == exit_code
        assert result.stdout.splitlines()[3:] == [line]

    def test_an_endpoint_that_a_client_has_created_is_something_to_serve(
        self, tmp_path: Path, upstream: Callable[..., str]
    ) -> None:
        async def create() -> None:
            async with open_file_store(tmp_path) as watched:
                await watched.store.create(endpoint("mine"))

        asyncio.run(create())
        result = run("check", "--upstream", upstream(), "--state-dir", str(tmp_path))
        assert (result.exit_code, result.stdout.splitlines()[2:]) == (
            0,
            ["registry   ok      file, 1 endpoint"],
        )

    def test_elastic_rerank_brings_its_endpoint(self, model: Path, upstream: Callable[..., str]) -> None:
        result = run("check", "--upstream", upstream(), "--model", f".rerank-v1={model}")
        assert result.stdout.splitlines()[-1] == (
            "endpoint   ok      .rerank-v1-elasticsearch is served by model .rerank-v1"
        )

    @pytest.mark.parametrize(
        ("answers", "exit_code", "line"),
        [
            ({"status": 401}, 0, "upstream   ok      URL, requires credentials, which clients send"),
            ({"status": 500}, 1, "upstream   failed  URL answered 500, but not as Elasticsearch does"),
            ({"product": "other"}, 1, "upstream   failed  URL answered 200, but not as Elasticsearch does"),
        ],
    )
    def test_upstreams(
        self, upstream: Callable[..., str], answers: dict[str, Any], exit_code: int, line: str
    ) -> None:
        url = upstream(**answers)
        result = run("check", "--upstream", url)
        assert result.exit_code == exit_code
        assert result.stdout.splitlines()[1:2] == [line.replace("URL", url)]

    def test_each_node_has_a_line(self, upstream: Callable[..., str]) -> None:
        urls = [upstream(), "http://127.0.0.1:1", upstream(status=401), upstream(product="other")]
        result = run("check", "--upstream-urls", ",".join(urls))
        assert result.exit_code == 1
        first, second, third, fourth = result.stdout.splitlines()[1:5]
        assert first == f"upstream   ok      {urls[0]}, cluster is green"
        assert second.startswith(f"upstream   failed  cannot connect to Elasticsearch at [{urls[1]}]: ")
        assert third == f"upstream   ok      {urls[2]}, requires credentials, which clients send"
        assert fourth == f"upstream   failed  {urls[3]} answered 200, but not as Elasticsearch does"

    def test_nodes_of_several_clusters(self, upstream: Callable[..., str]) -> None:
        bodies = [b'{"cluster_name":"%b","status":"green"}' % name for name in (b"films", b"books")]
        urls = [upstream(health=body) for body in bodies]
        result = run("check", "--upstream-urls", ",".join(urls))
        assert result.exit_code == 1
        assert result.stdout.splitlines()[3] == (
            "upstream   failed  the nodes belong to several clusters: books, films"
        )

    def test_a_registry_that_cannot_be_read(self, tmp_path: Path, upstream: Callable[..., str]) -> None:
        state = tmp_path / "state"
        state.mkdir()
        (state / "endpoints.json").write_text("{")
        result = run("check", "--upstream", upstream(), "--state-dir", str(state))
        assert result.exit_code == 1
        (line,) = result.stdout.splitlines()[2:]  # what it holds is not known
        assert line.startswith(
            "registry   failed  The registry of inference endpoints cannot be read: "
            "endpoints.json is damaged ("
        )
        assert line.endswith(f"[{state}/endpoints.json]")
        assert result.stderr == ""

    def test_what_others_could_do_to_the_state_is_warned_of(
        self, tmp_path: Path, upstream: Callable[..., str]
    ) -> None:
        state = tmp_path / "sta\nte"
        state.mkdir()
        state.chmod(0o777)
        result = run("check", "--upstream", upstream(), "--state-dir", str(state))
        assert result.exit_code == 0
        assert result.stdout.splitlines()[2:] == [
            f"registry   warning {tmp_path}/sta\\nte can be written by every user of this machine; chmod "
            "go-w takes that back",
            "registry   ok      file, 0 endpoints",
            NONE_YET,
        ]
        assert result.stderr == ""

    @pytest.mark.parametrize(("mode", "warned"), [(0o440, False), (0o444, True), (0o460, True)])
    def test_what_others_could_do_to_secrets_is_warned_of(
        self, tmp_path: Path, upstream: Callable[..., str], mode: int, warned: bool
    ) -> None:
        """Kubernetes has its group read it."""
        key, directory = tmp_path / "api-key", tmp_path / "secrets"
        directory.mkdir()
        for path in (key, directory / "registry__key"):
            path.write_text("c2VjcmV0" * 5 + "abc=")
            path.chmod(mode)
        result = run(
            "check",
            "--upstream",
            upstream(),
            "--registry-api-key-file",
            str(key),
            environ={"RERANK_PROXY_SECRETS_DIR": str(directory)},
        )
        warnings = [line for line in result.stdout.splitlines() if line.startswith("settings   warning ")]
        assert len(warnings) == (2 if warned else 0)
        assert all("chmod go-rwx takes that back" in line for line in warnings)

    def test_secrets_are_not_shown(self, tmp_path: Path, upstream: Callable[..., str]) -> None:
        """Other users of the machine could see them in options."""
        key = "c2VjcmV0" * 5 + "abc="
        for name, value in (("KEY", key), ("API_KEY", "s3cret"), ("KEY", "s3cret-and-bad")):
            result = run("check", "--upstream", upstream(), environ={f"RERANK_PROXY_REGISTRY__{name}": value})
            assert value not in result.output
        assert "--registry-key " not in run("check", "--help").stdout

    def test_a_key_file_is_looked_at_before_anything_is_started(self, tmp_path: Path) -> None:
        missing = tmp_path / "key"
        result = run("serve", "--registry-key-file", str(missing))
        assert (result.exit_code, result.stderr) == (
            2,
            f"rerank-proxy: [registry.key_file]: {missing}: cannot be read: No such file or directory\n",
        )

    def test_no_upstream(self) -> None:
        with ThreadingHTTPServer(("127.0.0.1", 0), Upstream) as gone:
            port = gone.server_port
        result = run("check", "--upstream", f"http://127.0.0.1:{port}")
        assert result.exit_code == 1
        assert result.stdout.splitlines()[1:2] == [
            f"upstream   failed  cannot connect to Elasticsearch at [http://127.0.0.1:{port}]: connection "
            "refused; check that it is running and that the setting [upstream.url] is right"
        ]


def test_export_tells_why_it_cannot(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    result = run("export", str(tmp_path), str(tmp_path / "out"))
    assert result.exit_code == 1
    (line,) = result.stderr.splitlines()
    assert str(tmp_path) in line
    assert "names no architecture in its config.json" in line
    assert not (tmp_path / "out").exists()
