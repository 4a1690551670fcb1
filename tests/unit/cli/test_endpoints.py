"""`rerank-proxy endpoints`: what it sends, what it prints, and whose eyes see no secret."""

import base64
import gzip
import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from rerank_proxy.cli import credentials, main, proxy_client
from rerank_proxy.services.built_in import load_services
from rerank_proxy.settings.sensitive import may_be_secret
from tests.support.remote import Remote
from tests.support.tls import Authority

LONG = "an-endpoint-with-a-very-long-id-that-no-terminal-of-eighty-columns-could-ever-show-in-a-table-of-five"
ENDPOINTS = [
    {
        "inference_id": name,
        "task_type": "rerank",
        "service": "cohere",
        "service_settings": {"model_id": "rerank-v3.5", "rate_limit": {"requests_per_minute": 10_000}},
        "task_settings": {"top_n": 10, "return_documents": True},
    }
    for name in ("mine", LONG)
]


@dataclass
class Served:
    """What a proxy was asked."""

    url: str = ""
    asked: list[tuple[str, str, str | None, Any]] = field(default_factory=list)
    status: int = 200
    body: bytes | None = None
    headers: dict[str, str] = field(default_factory=dict)


@pytest.fixture
def proxy() -> Iterator[Served]:
    served = Served()

    class Handler(BaseHTTPRequestHandler):
        def answer(self) -> None:
            length = int(self.headers.get("content-length", "0"))
            body = json.loads(self.rfile.read(length)) if length else None
            served.asked.append((self.command, self.path, self.headers.get("authorization"), body))
            answers: dict[str, Any] = {
                "GET": {"endpoints": ENDPOINTS if self.path.endswith("/_all") else ENDPOINTS[:1]},
                "PUT": ENDPOINTS[0],
                "POST": {
                    "rerank": [{"index": 1, "relevance_score": 2.5}, {"index": 0, "relevance_score": 0.5}]
                },
                "DELETE": {"acknowledged": True, "error_message": ""},
            }
            content = json.dumps(answers[self.command]).encode() if served.body is None else served.body
            self.send_response(served.status)
            for name, value in served.headers.items():
                self.send_header(name, value)
            self.send_header("content-length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def do_GET(self) -> None:
            self.answer()

        def do_PUT(self) -> None:
            self.answer()

        def do_POST(self) -> None:
            self.answer()

        def do_DELETE(self) -> None:
            self.answer()

        def log_message(self, *_: Any) -> None:
            """Nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    served.url = f"http://127.0.0.1:{server.server_port}"
    yield served
    server.shutdown()
    server.server_close()


NONE: dict[str, str | None] = dict.fromkeys(["ES_API_KEY", "ES_USER", "ES_PASSWORD", "RERANK_PROXY_CONFIG"])


def run(*arguments: str, **environ: str) -> Result:
    return CliRunner().invoke(main, ["endpoints", *arguments], env={**NONE, **environ})


def basic(pair: str) -> str:
    return f"Basic {base64.b64encode(pair.encode()).decode()}"


def test_ids_are_whole_in_a_pipe(proxy: Served) -> None:
    result = run("list", "--url", proxy.url, COLUMNS="40")
    assert result.exit_code == 0
    head, *rows = result.stdout.splitlines()
    assert head.split()[:3] == ["inference_id", "service", "model_id"]
    assert [row.split()[0] for row in rows] == ["mine", LONG]
    assert '{"top_n": 10, "return_documents": true}' in rows[0]
    assert proxy.asked[0][:2] == ("GET", "/_inference/rerank/_all")


def test_json(proxy: Served, tmp_path: Path) -> None:
    for command, expected in (
        (["list"], ENDPOINTS),
        (["get", "mine"], ENDPOINTS[0]),
        (["put", "mine", "--service", "cohere"], ENDPOINTS[0]),
        (["delete", "mine"], {"acknowledged": True, "error_message": ""}),
    ):
        result = run(*command, "--json", "--url", proxy.url)
        assert (result.exit_code, json.loads(result.stdout)) == (0, expected)
    assert json.loads(run("get", "mine", "--url", proxy.url).stdout) == ENDPOINTS[0]
    tried = json.loads(run("test", "mine", "a", "b", "--json", "--url", proxy.url).stdout)
    assert tried["rerank"][0] == {"index": 1, "relevance_score": 2.5, "text": "b"}
    assert tried["took_ms"] > 0


def test_an_endpoint_that_is_not_there(proxy: Served) -> None:
    proxy.status = 404
    result = run("get", "mine", "--url", proxy.url)
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.count("\n") == 1
    assert f"{proxy.url} answered 404" in result.stderr


COMMANDS = (["list"], ["get", "e"], ["put", "e"], ["delete", "e", "--dry-run"], ["test", "e", "a"])
ODD = (
    b"",
    b"\xff",
    b'"\\ud800"',
    b"[" * 100_000,
    b"1",
    b"[]",
    b'{"endpoints": null, "rerank": null, "error_message": []}',
    b'{"endpoints": [null], "rerank": [null]}',
    b'{"endpoints": [{"inference_id": 1, "service": "s"}], "rerank": [{"index": 7, "relevance_score": 1}]}',
    b'{"endpoints": [], "rerank": [{"index": -1, "relevance_score": 1}]}',
)


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command[0])
def test_what_is_not_the_proxy_may_answer_anything(proxy: Served, command: list[str]) -> None:
    for body in ODD:
        proxy.body = body
        for form in ([], ["--json"]):
            result = run(*command, *form, "--url", proxy.url)
            assert result.exit_code in (0, 1), body
            assert result.exception is None or isinstance(result.exception, SystemExit), body
            assert "\n" not in result.stderr.strip(), body
    proxy.headers = {"content-type": "text/plain; charset=rot13"}
    assert isinstance(run(*command, "--url", proxy.url).exception, SystemExit | None)


def test_a_model_may_have_any_name(proxy: Served) -> None:
    shown = {**ENDPOINTS[0], "service_settings": {"model_id": ["\x1b[31m", 1]}}
    proxy.body = json.dumps({"endpoints": [shown]}).encode()
    result = run("list", "--url", proxy.url)
    assert result.exit_code == 0
    assert "\x1b" not in result.stdout


def test_no_answer_is_read_for_ever(proxy: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(proxy_client, "_MAX_ANSWER", 1000)
    proxy.body = gzip.compress(bytes(1_000_000))
    proxy.headers = {"content-encoding": "gzip"}
    result = run("get", "e", "--url", proxy.url)
    assert (result.exit_code, result.stdout) == (1, "")
    assert "answered with more than 1000 bytes" in result.stderr


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_secrets_follow_no_redirect(proxy: Served, status: int) -> None:
    proxy.status, proxy.headers, proxy.body = status, {"location": f"{proxy.url}/elsewhere"}, b""
    result = run("put", "e", "--secret", "api_key=KEY", "--url", proxy.url, KEY="not for others")
    assert result.exit_code == 1
    assert f"answered {status}: " in result.stderr
    assert [asked[1] for asked in proxy.asked] == ["/_inference/rerank/e"]


class TestCredentials:
    @pytest.mark.parametrize(
        ("arguments", "environ", "sent"),
        [
            ([], {}, None),
            ([], {"ES_API_KEY": "k"}, "ApiKey k"),
            ([], {"ES_USER": "u:p:q"}, basic("u:p:q")),
            ([], {"ES_USER": "u", "ES_PASSWORD": "p"}, basic("u:p")),
            (["--user", "v"], {"ES_PASSWORD": "p", "ES_API_KEY": "k", "ES_USER": "u"}, basic("v:p")),
            (["--user", "v", "--password-file", "FILE"], {"ES_PASSWORD": "p"}, basic("v:s3cret")),
            (["--api-key-file", "FILE"], {"ES_API_KEY": "k"}, "ApiKey s3cret"),
        ],
    )
    def test_where_they_come_from(
        self, proxy: Served, tmp_path: Path, arguments: list[str], environ: dict[str, str], sent: str | None
    ) -> None:
        path = tmp_path / "secret"
        path.write_text("s3cret\n")
        given = [str(path) if argument == "FILE" else argument for argument in arguments]
        result = run("list", "--url", proxy.url, *given, **environ)
        assert (result.exit_code, result.stderr) == (0, "")
        assert proxy.asked[0][2] == sent

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (["--user", "u:s3cret"], "every user of this machine can see a password on a command line"),
            (["--url", "http://u:s3cret@127.0.0.1:1"], "every user of this machine can see a password"),
            (["--url", "u:s3cret@127.0.0.1"], "every user of this machine can see a password"),
            (["--url", "127.0.0.1:9201"], "127.0.0.1:9201: is not an address: expected http://HOST:PORT"),
            (["--url", "http://[::1"], "is not an address"),
            (["--user", "u"], "--user u needs a password: give --password-file or ES_PASSWORD"),
            (["--user", "u", "--api-key-file", "f"], "give either --user or --api-key-file"),
            (["--api-key-file", "/absent"], "/absent: cannot be read: No such file or directory"),
            (["--api-key", "s3cret"], "No such option '--api-key'. Did you mean '--api-key-file'?"),
        ],
    )
    def test_what_is_refused(self, proxy: Served, arguments: list[str], message: str) -> None:
        result = run("list", "--url", proxy.url, *arguments)
        assert result.exit_code == 2
        assert message in result.stderr
        assert "s3cret" not in result.stderr
        assert proxy.asked == []

    def test_a_terminal_is_asked(self, proxy: Served, monkeypatch: pytest.MonkeyPatch) -> None:
        class Terminal:
            @staticmethod
            def isatty() -> bool:
                return True

        class Sys:
            stdin = Terminal

        monkeypatch.setattr(credentials, "sys", Sys)
        monkeypatch.setattr("click.prompt", lambda *_, **options: "typed" if options["hide_input"] else "")
        assert credentials.authorization("u", None, None, {}) == basic("u:typed")


class TestSecretsOfServices:
    def test_none_is_taken_from_the_command_line(self, proxy: Served) -> None:
        for setting in ("api_key=s3cret", "secret_parameters.x=s3cret", "headers.Authorization=s3cret"):
            result = run("put", "e", "--service", "s", "--setting", setting, "--url", proxy.url)
            assert result.exit_code == 2
            assert result.stderr.startswith(
                f"rerank-proxy: --setting {setting.partition('=')[0]}=…: every user"
            )
            assert "s3cret" not in result.stderr
        assert proxy.asked == []

    def test_where_they_come_from(self, proxy: Served, tmp_path: Path) -> None:
        path = tmp_path / "secret"
        path.write_text("of-a-file\n")
        options = ("--secret", "api_key=THE_KEY", "--secret-file", f"secret_key={path}")
        result = run(
            "put", "e", "--service", "s", "--setting", "model_id=m", *options, "--url", proxy.url, THE_KEY="k"
        )
        assert result.exit_code == 0
        assert proxy.asked[0][3] == {
            "service": "s",
            "service_settings": {"model_id": "m", "api_key": "k", "secret_key": "of-a-file"},
        }
        absent = run("put", "e", "--secret-file", "api_key=/absent", "--url", proxy.url)
        assert (absent.exit_code, absent.stderr) == (
            2,
            "rerank-proxy: --secret-file api_key=/absent: cannot be read: No such file or directory\n",
        )

    def test_the_names_are_those_of_each_service(self) -> None:
        """A secret is told by its name; no other setting of text is taken for one."""
        for service in load_services(Remote().context).values():
            for setting in service.settings_for({}):
                if setting.secret or setting.kind.name in ("STRING", "URL"):
                    assert may_be_secret(setting.name) == setting.secret, (service.name, setting.name)


def test_certificates(tmp_path: Path, proxy: Served) -> None:
    authority = Authority(tmp_path)
    server = ThreadingHTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler)
    server.socket = authority.issue().server().wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"https://127.0.0.1:{server.server_port}"
    try:
        unknown = run("list", "--url", url)
        assert unknown.exit_code == 1
        assert f"{url} cannot be reached: " in unknown.stderr
        known = run("list", "--url", url, "--ca-certs", str(authority.path))
        assert f"{url} answered 501" in known.stderr  # over TLS
    finally:
        server.shutdown()
        server.server_close()
    absent = run("list", "--url", url, "--ca-certs", "/absent")
    assert (absent.exit_code, absent.stderr) == (
        2,
        "rerank-proxy: --ca-certs /absent: cannot be read: No such file or directory\n",
    )
    bad = run("list", "--url", url, "--ca-certs", __file__)
    assert f"--ca-certs {__file__}: holds no certificates in PEM" in bad.stderr


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_the_address_is_that_of_the_settings(tmp_path: Path, scheme: str) -> None:
    config = tmp_path / "rerank-proxy.yaml"
    tls = "tls: {cert: /absent}\n" if scheme == "https" else ""
    config.write_text(f"listen: 0.0.0.0:1\n{tls}")
    result = run("list", "--config", str(config))
    assert (result.exit_code, result.stdout) == (1, "")
    assert f"{scheme}://127.0.0.1:1 cannot be reached" in result.stderr
