"""Who may ask the admin listener what: every kind of listener with every kind of request."""

import asyncio
import itertools
import json
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from multidict import CIMultiDict

from rerank_proxy.edge.listener import bind
from rerank_proxy.observe.admin import Admin
from rerank_proxy.observe.admin_access import access_of, host_of
from rerank_proxy.observe.control import ControlClient
from rerank_proxy.observe.edge_metrics import EdgeMetrics
from rerank_proxy.observe.process_metrics import ProcessMetrics
from rerank_proxy.settings import Address, AdminSettings, InvalidSettingsError, load
from tests.support.raw_http import connect

TOKEN = "dGhlIHRva2VuIG9mIHRoZSBhZG1pbiBwb3J0Cg=="
BOUND = {"loopback": ["127.0.0.1", "::1"], "everywhere": ["0.0.0.0"], "both": ["127.0.0.1", "192.168.0.1"]}
OPEN = (False, True)
TOKENS = (None, TOKEN)
NAMES: tuple[tuple[str, ...], ...] = ((), ("Metrics.Example.",))
SHOWN = {
    "nothing": [],
    "the token": [f"Bearer {TOKEN}"],
    "the token, in other letters": [f"bEARER  {TOKEN}"],
    "another token": [f"Bearer {TOKEN}="],
    "an empty one": ["Bearer "],
    "another scheme": [f"Basic {TOKEN}"],
    "two": [f"Bearer {TOKEN}", f"Bearer {TOKEN}"],
    "no ASCII": ["Bearer \udcfftoken-of-admin-port"],
}
SHOW_IT = ("the token", "the token, in other letters")
HOSTS = {
    "127.0.0.1:9202": "known",
    "[::1]:9202": "known",
    "10.1.2.3": "known",
    "LocalHost:9202": "known",
    "localhost.:9202": "known",
    "metrics.example:9202": "named",
    "rebound.example:9202": "foreign",
    "localhost.example": "foreign",
    "127.0.0.1.example": "foreign",
    "": "foreign",
    "a b": "foreign",
}
NAVIGATION = {"Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}
PAGES: dict[str, tuple[dict[str, str], bool]] = {
    "no browser": ({}, True),
    "its own page": ({"Sec-Fetch-Site": "same-origin", "Origin": "http://HOST"}, True),
    "typed": ({"Sec-Fetch-Site": "none", **NAVIGATION}, True),
    "a link": ({"Sec-Fetch-Site": "cross-site", **NAVIGATION}, True),
    "a frame": ({"Sec-Fetch-Site": "cross-site", **NAVIGATION, "Sec-Fetch-Dest": "iframe"}, False),
    "another site": ({"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors"}, False),
    "another port": ({"Sec-Fetch-Site": "same-site"}, False),
    "another origin": ({"Origin": "https://elsewhere.example"}, False),
    "no origin to name": ({"Origin": "null"}, False),
}  # fmt: skip


def settings_of(token: str | None, opened: bool, names: tuple[str, ...] = ()) -> AdminSettings:
    return AdminSettings.model_validate({"token": token, "open": opened, "hosts": names})


def headers(host: str, shown: list[str], page: Mapping[str, str]) -> "CIMultiDict[str]":
    fields = CIMultiDict({"Host": host, **{name: text.replace("HOST", host) for name, text in page.items()}})
    for each in shown:
        fields.add("Authorization", each)
    return fields


def expected(bound: str, token: str | None, opened: bool, names: bool, request: tuple[str, str, str]) -> int:
    """Return the status that the table of docs/operations.md says, 200 for all that is asked for."""
    shown, host, page = request
    if not PAGES[page][1]:
        return 403
    if token is not None:
        return 200 if shown in SHOW_IT else 401
    if bound != "loopback" and not opened:
        return 403
    if bound == "loopback" or names:
        return 200 if HOSTS[host] in (("known", "named") if names else ("known",)) else 403
    return 200


@pytest.mark.parametrize("bound", BOUND)
@pytest.mark.parametrize("token", TOKENS, ids=["no token", "token"])
@pytest.mark.parametrize("opened", OPEN, ids=["closed", "open"])
@pytest.mark.parametrize("names", NAMES, ids=["no names", "names"])
def test_the_whole_table(bound: str, token: str | None, opened: bool, names: tuple[str, ...]) -> None:
    rules = access_of(settings_of(token, opened, names), BOUND[bound])
    for request in itertools.product(SHOWN, HOSTS, PAGES):
        shown, host, page = request
        refusal = rules.refusal(headers(host, SHOWN[shown], PAGES[page][0]))
        status = 200 if refusal is None else refusal.status
        assert status == expected(bound, token, opened, bool(names), request), request


def test_programs_that_name_no_host_are_not_browsers() -> None:
    rules = access_of(settings_of(None, False), BOUND["loopback"])
    assert rules.refusal(CIMultiDict()) is None


def test_one_unknown_host_among_several_is_enough() -> None:
    rules = access_of(settings_of(None, False), BOUND["loopback"])
    assert rules.refusal(CIMultiDict([("Host", "localhost"), ("host", "rebound.example")])) is not None


@pytest.mark.parametrize("host", ["", " ", "a:b", "user@localhost", "localhost/x", "[::1", "::1", "a:123456"])
def test_malformed_hosts_have_no_name(host: str) -> None:
    assert host_of(host) is None


Ask = tuple[int, Mapping[str, str], Any]


class Port:
    """An admin listener, as programs reach it on this machine."""

    def __init__(self, admin: Admin, port: int) -> None:
        self.admin = admin
        self.port = port

    async def ask(self, path: str, token: str | None = None) -> Ask:
        return await asyncio.to_thread(self._ask, path, token)

    def _ask(self, path: str, token: str | None) -> Ask:
        shown = {} if token is None else {"Authorization": f"Bearer {token}"}
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", headers=shown)
        try:
            answer = urllib.request.urlopen(request)
        except urllib.error.HTTPError as refused:
            answer = refused
        with answer:
            body = answer.read()
            is_json = answer.headers["Content-Type"].startswith("application/json")
            return answer.status, answer.headers, json.loads(body) if is_json else body


@asynccontextmanager
async def listener(directory: Path, host: str, settings: AdminSettings) -> AsyncIterator[Port]:
    admin = Admin(ControlClient(directory / "no-application"), ProcessMetrics(), EdgeMetrics(), lambda: None)
    sockets = bind(Address(host, 0))
    await admin.start(sockets, settings)
    yield Port(admin, sockets[0].getsockname()[1])
    await admin.stop()


async def test_strangers_learn_the_status_alone(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async with listener(tmp_path, "0.0.0.0", AdminSettings()) as port:
        (warning,) = [record.getMessage() for record in caplog.records]
        assert warning.startswith("[admin.listen] can be reached from other machines")
        assert (await port.ask("/live"))[::2] == (200, {"live": True})
        status, _, body = await port.ask("/ready")
        assert status == 503
        assert body.pop("details").startswith("the admin port can be reached from other machines")
        assert body == {"ready": False}
        for path in ("/metrics", "/", "/nothing", "/live/", "/metrics/x"):
            status, _, body = await port.ask(path)
            assert (status, body["error"]["type"]) == (403, "security_exception")
            assert "[admin.open: true]" in body["error"]["reason"]


async def test_the_token_opens_everything(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async with listener(tmp_path, "0.0.0.0", settings_of(TOKEN, False)) as port:
        for path in ("/metrics", "/nothing"):
            for wrong in (None, TOKEN[:-2], TOKEN[:-3]):
                status, fields, body = await port.ask(path, wrong)
                assert (status, body["error"]["type"]) == (401, "security_exception")
                assert fields["WWW-Authenticate"] == 'Bearer realm="rerank-proxy admin"'
        assert (await port.ask("/metrics", TOKEN))[0] == 200
        assert (await port.ask("/nothing", TOKEN))[0] == 404
        assert "models" not in (await port.ask("/ready", TOKEN[:-2]))[2]
        assert (await port.ask("/ready", TOKEN))[2].keys() == {"ready", "reason", "models", "upstream"}
    (once,) = [record.getMessage() for record in caplog.records]
    assert once == "the admin port was asked with a wrong token by 127.0.0.1; wrong tokens since the start: 1"


async def test_a_body_that_cannot_be_read_leaves_no_line(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    head = b"GET /live HTTP/1.1\r\nHost: a\r\n%b\r\n\r\n"
    bodies = {b"Content-Encoding: gzip\r\nContent-Length: 3": b"abc", b"Transfer-Encoding: chunked": b"1\r\n"}
    async with listener(tmp_path, "127.0.0.1", AdminSettings()) as port:
        for fields, body in bodies.items():
            async with connect(port.port) as wire:
                await wire.send(head % fields + body)
                assert (await wire.read_to_end()).startswith(b"HTTP/1.1 200 ")
    assert not caplog.records


async def test_another_token_takes_its_place(tmp_path: Path) -> None:
    async with listener(tmp_path, "127.0.0.1", settings_of(TOKEN, False)) as port:
        port.admin.use(settings_of("another-token-of-the-port", False))
        assert (await port.ask("/metrics", TOKEN))[0] == 401
        assert (await port.ask("/metrics", "another-token-of-the-port"))[0] == 200
        port.admin.use(settings_of(None, False))
        assert (await port.ask("/metrics"))[0] == 200


@pytest.mark.parametrize(
    "token", ["too short", "", "a" * 15, "a" * 1025, "ein-Schlüssel-der-nicht-taugt", "a\nb" * 9, f"{TOKEN}a"]
)
def test_unfit_tokens_are_refused_without_being_shown(token: str) -> None:
    with pytest.raises(InvalidSettingsError) as failure:
        load(None, {"admin": {"token": token}}, {})
    assert str(failure.value).startswith("[admin.token]: ")
    assert not token or token not in str(failure.value)
