"""The files of the pages: what a browser is told of them, and what it may not do with them."""

import re
from pathlib import Path

import pytest

from rerank_proxy.edge.server import Edge
from rerank_proxy.pages.assets import STATIC
from rerank_proxy.settings import load
from tests.support.admin_pages import admin_pages
from tests.support.raw_http import connect

TOKEN = "a-token-of-sixteen-or-more"
SETTINGS = {"upstream": "http://127.0.0.1:1", "listen": "127.0.0.1:0"}
BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"
FILES = sorted(path.name for path in STATIC.iterdir())


def edge_of(directory: Path) -> Edge:
    return Edge(load(None, SETTINGS, {}), directory / "app.sock")


@pytest.mark.parametrize("token", [None, TOKEN], ids=["open", "with a token"])
async def test_shells_and_their_files_take_no_token(tmp_path: Path, token: str | None) -> None:
    settings = load(None, {**SETTINGS, "admin": {"token": token}}, {})
    async with admin_pages(edge_of(tmp_path), tmp_path / "control.sock", settings) as pages:
        for path in ("/", "/status", *(f"/pages/{name}" for name in FILES)):
            answer = await pages.get(path, Accept=BROWSER)
            assert answer.status == 200, path
            policy = answer.field("content-security-policy") or ""
            assert "default-src 'none'" in policy
            assert "frame-ancestors 'none'" in policy
            assert "unsafe" not in policy
            assert "*" not in policy
            assert answer.field("x-content-type-options") == "nosniff"
            assert answer.field("referrer-policy") == "no-referrer"
            assert answer.field("cross-origin-opener-policy") == "same-origin"
        for path in ("/status.json", "/metrics"):
            assert (await pages.get(path, Accept=BROWSER)).status == (401 if token else 200)
        assert (await pages.get("/nothing", Accept=BROWSER)).status == (401 if token else 404)


async def test_programs_get_the_index(tmp_path: Path) -> None:
    settings = load(None, {**SETTINGS, "admin": {"token": TOKEN}}, {})
    async with admin_pages(edge_of(tmp_path), tmp_path / "control.sock", settings) as pages:
        assert (await pages.get("/")).status == 401
        answer = await pages.get("/", Authorization=f"Bearer {TOKEN}", Accept="*/*")
        assert answer.body.startswith(b"rerank-proxy\n")


async def test_a_file_that_the_browser_has_is_not_sent_again(tmp_path: Path) -> None:
    settings = load(None, SETTINGS, {})
    async with admin_pages(edge_of(tmp_path), tmp_path / "control.sock", settings) as pages:
        first = await pages.get("/pages/look.css")
        assert first.field("content-type") == "text/css; charset=utf-8"
        again = await pages.get("/pages/look.css", If_None_Match=first.field("etag") or "")
        assert (again.status, again.body) == (304, b"")


@pytest.mark.parametrize(
    "name",
    ["", "absent.css", "..%2f__init__.py", "%2e%2e", ".hidden.css", "look.CSS", "look.css%00", "a/b.css"],
)
async def test_there_are_no_other_files(tmp_path: Path, name: str) -> None:
    settings = load(None, SETTINGS, {})
    async with admin_pages(edge_of(tmp_path), tmp_path / "control.sock", settings) as pages:
        assert (await pages.get(f"/pages/{name}")).status == 404


async def test_pages_of_other_sites_get_nothing(tmp_path: Path) -> None:
    settings = load(None, SETTINGS, {})
    async with admin_pages(edge_of(tmp_path), tmp_path / "control.sock", settings) as pages:
        framed = {"Sec_Fetch_Site": "cross-site", "Sec_Fetch_Mode": "navigate", "Sec_Fetch_Dest": "iframe"}
        assert (await pages.get("/", Accept=BROWSER, **framed)).status == 403
        linked = {**framed, "Sec_Fetch_Dest": "document"}
        assert (await pages.get("/", Accept=BROWSER, **linked)).status == 200
        assert (await pages.get("/", Accept=BROWSER, Host="rebound.example")).status == 403


async def test_a_closed_port_shows_no_page(tmp_path: Path) -> None:
    settings = load(None, SETTINGS, {})
    async with (
        admin_pages(edge_of(tmp_path), tmp_path / "control.sock", settings, "0.0.0.0") as pages,
        connect(pages.port) as wire,
    ):
        await wire.send(b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept: text/html\r\n\r\n")
        assert (await wire.read_message()).status == 403


HEAD = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="robots" content="noindex">
<title>{title} \u2013 rerank-proxy</title>
<link rel="icon" href="pages/icon.svg" type="image/svg+xml">
<link rel="stylesheet" href="pages/look.css">
<link rel="stylesheet" href="pages/{page}.css">
<script src="pages/theme.js"></script>
<script type="module" src="pages/{page}.js"></script>
</head>
<body>
"""


@pytest.mark.parametrize("page", ["playground", "status", "judge"])
def test_all_pages_have_the_same_head(page: str) -> None:
    text = (STATIC / f"{page}.html").read_text(encoding="utf-8")
    assert text.startswith(HEAD.format(title=page.capitalize(), page=page))


def test_nothing_in_them_is_from_elsewhere() -> None:
    for name in FILES:
        text = (STATIC / name).read_text(encoding="utf-8")
        assert not re.search(
            r"(?:src|href)=[\"']?(?:https?:)?//|url\(\s*[\"']?(?:https?:)?//|@import", text
        ), name
        if name.endswith(".html"):
            assert not re.search(r"<script(?![^>]*\bsrc=)|<style|\son[a-z]+=|\sstyle=", text), name
