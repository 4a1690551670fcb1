"""The page on which a person judges, in a real browser."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import pytest
from playwright.async_api import Browser, Locator, expect
from playwright.async_api import Page as Tab

from rerank_proxy.relevance.errors import RelevanceError
from rerank_proxy.relevance.growing import read_lines
from rerank_proxy.relevance.judging.acts import Act
from rerank_proxy.relevance.judging.workspace import Workspace
from tests.support.browser import DESKTOP, PHONE, overflow, violations, visit
from tests.support.judgings import Page, Shelf, made, serving

pytestmark = pytest.mark.asyncio(loop_scope="session")

HOSTILE: Final = "<img src=x onerror=alert(1)><script>alert(2)</script><b>bold</b>"
LONG: Final = "A sentence of a long text that goes on and on. " * 60
POOLS: Final = {"q1": ("hostile", "long", "gone", "short"), "q2": ("short", "long")}


@pytest.fixture
def shelf() -> Shelf:
    shelf = Shelf()
    shelf.put("hostile", title=HOSTILE, plot=f"plot: {HOSTILE}")
    shelf.put("long", title="A long one", plot=LONG)
    shelf.put("short", title="A short one", plot="It is short.")
    return shelf


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return made(tmp_path, POOLS, fields=("title", "plot"))


@asynccontextmanager
async def judging(
    browser: Browser, workspace: Workspace, shelf: Shelf, **window: Any
) -> AsyncIterator[tuple[Page, Tab]]:
    """Open the page as anna, who gets q1 and q2 in an order of hers."""
    async with serving(workspace, "anna", shelf) as page:
        path = page.addresses[0].removeprefix(page.origin)
        async with visit(browser, page.origin, path, **window) as tab:
            await expect(tab.locator("#documents > li").first).to_be_visible()
            yield page, tab


def saved(workspace: Workspace) -> list[Act]:
    return read_lines(workspace.path / "persons" / "anna.jsonl", Act)


def current(tab: Tab) -> Locator:
    return tab.locator("#documents > li[aria-current=true]")


async def test_judging_by_keyboard_alone(browser: Browser, workspace: Workspace, shelf: Shelf) -> None:
    async with judging(browser, workspace, shelf) as (page, tab):
        assert page.addresses[0].partition("#")[2] not in tab.url
        for place in range(1, len(POOLS) + 1):
            await expect(tab.locator("#place")).to_contain_text(f"Query {place} of 2 · 0 of")
            while await tab.locator("#finished").is_hidden():
                name = await current(tab).locator("code").text_content()
                await tab.keyboard.press("s" if name == "gone" else "3" if name == "short" else "0")
            await tab.keyboard.press("n")
        await expect(tab.locator("#finished h2")).to_have_text("All queries are judged")
        await expect(tab.locator("#all-words")).to_have_text("2 of 2 queries, 6 of 6 documents")
    grades = {act.pair: (act.grade, act.unsure) for act in saved(workspace)}
    assert grades == {
        (query, name): (None, True) if name == "gone" else (3 if name == "short" else 0, False)
        for query, names in POOLS.items()
        for name in names
    }


async def test_undo_moves_and_help(browser: Browser, workspace: Workspace, shelf: Shelf) -> None:
    async with judging(browser, workspace, shelf) as (_, tab):
        first = await current(tab).locator("code").text_content()
        await tab.keyboard.press("ArrowDown")
        second = await current(tab).locator("code").text_content()
        await tab.keyboard.press("k")
        assert first != second
        await expect(current(tab).locator("code")).to_have_text(str(first))
        await tab.keyboard.press("s")
        await expect(tab.locator("#said")).to_have_text("Document 1: not sure")
        await tab.keyboard.press("u")
        await expect(tab.locator("#said")).to_contain_text("document 1 has no grade again")
        await expect(current(tab)).to_be_focused()
        await tab.keyboard.press("?")
        await expect(tab.locator("#keys")).to_be_visible()
        await tab.keyboard.press("1")
        await tab.locator("#keys-on").uncheck()
        await tab.keyboard.press("Escape")
        await tab.keyboard.press("1")
        await tab.keyboard.press("n")
        await expect(tab.locator("#place")).to_contain_text("Query 1 of 2 · 0 of")
    assert [(act.grade, act.unsure) for act in saved(workspace)] == [(None, True), (None, False)]


async def test_texts_are_text_and_what_is_gone_is_said(
    browser: Browser, workspace: Workspace, shelf: Shelf
) -> None:
    async with judging(browser, workspace, shelf) as (_, tab):
        await tab.select_option("#jump", label=await tab.locator("#jump option", has_text="q1").inner_text())
        documents = tab.locator("#documents > li")
        await expect(documents).to_have_count(4)
        hostile = documents.filter(has=tab.locator("code", has_text="hostile"))
        assert await hostile.locator(".texts p").all_text_contents() == [HOSTILE, f"plot: {HOSTILE}"]
        assert await tab.locator("#documents img, #documents script, #documents b").count() == 0
        gone = documents.filter(has=tab.locator("code", has_text="gone"))
        await expect(gone).to_contain_text("is no longer")
        await expect(gone.get_by_role("button", name="2:")).to_be_disabled()
        long = documents.filter(has=tab.locator("code", has_text="long"))
        text = long.locator(".long p")
        closed = await text.evaluate("each => each.offsetHeight")
        await long.get_by_role("button", name="Show all of it").click()
        assert await text.evaluate("each => each.offsetHeight") > 2 * closed
        await expect(long.get_by_role("button", name="Show less")).to_have_attribute("aria-expanded", "true")


async def test_what_failed_is_said_and_can_be_done_again(
    browser: Browser, workspace: Workspace, shelf: Shelf
) -> None:
    failed = "the server responded with a status of 500"
    async with judging(browser, workspace, shelf, expected=(failed,)) as (_, tab):
        file = workspace.path / "persons" / "anna.jsonl"
        file.mkdir()
        name = await current(tab).locator("code").text_content()
        await tab.keyboard.press("s")
        await expect(tab.locator("#message")).to_contain_text("A grade was not saved")
        await expect(tab.locator("#message")).to_contain_text(f"Document {name}")
        await expect(tab.locator("#documents > li").first.locator(".chip")).to_have_text("not judged")
        await expect(tab.locator("#place")).to_contain_text("0 of")
        file.rmdir()
        await tab.keyboard.press("k")
        await tab.keyboard.press("s")
        await expect(tab.locator("#place")).to_contain_text("1 of")
        shelf.failure = RelevanceError("http://localhost:9201 cannot be reached")
        await tab.keyboard.press("n")
        await expect(tab.locator("#message")).to_contain_text("http://localhost:9201 cannot be reached")
        shelf.failure = None
        await tab.keyboard.press("n")
        await expect(tab.locator("#place")).to_contain_text("Query 2 of 2")
        await expect(tab.locator("#message")).to_be_hidden()
    assert [act.document for act in saved(workspace)] == [name]


async def test_a_window_of_its_own_goes_on_and_another_is_refused(
    browser: Browser, workspace: Workspace, shelf: Shelf
) -> None:
    async with judging(browser, workspace, shelf) as (page, tab):
        await tab.keyboard.press("s")
        await expect(tab.locator("#place")).to_contain_text("1 of")
        await tab.reload()
        await expect(tab.locator("#place")).to_contain_text("1 of")
        used = page.addresses[0].removeprefix(page.origin)
        async with visit(browser, page.origin, used, expected=("status of 403",)) as other:
            await expect(other.locator("#message")).to_contain_text("this address was used before")
            await other.goto("/")
            await expect(other.locator("#message")).to_contain_text("This window has no session")


async def test_conflicts_are_decided(browser: Browser, workspace: Workspace, shelf: Shelf) -> None:
    with workspace.person_file("ben") as ben, workspace.person_file("anna") as anna:
        ben.add([Act("q2", "short", grade=0), Act("q2", "long", grade=1), Act("q1", "short", grade=2)])
        anna.add([Act("q2", "short", grade=3), Act("q2", "long", grade=1)])
    async with judging(browser, workspace, shelf) as (_, tab):
        await tab.click("#to-compare")
        await expect(tab.locator(".figures")).to_contain_text("50 %")
        await expect(tab.locator("#documents > li")).to_have_count(1)
        await expect(tab.locator(".given")).to_have_text("anna 3ben 0")
        assert await violations(tab) == []
        await tab.keyboard.press("2")
        await expect(tab.locator("#place")).to_contain_text("1 of 1 decided")
        await tab.keyboard.press("n")
        await expect(tab.locator("#finished h2")).to_have_text("All is decided")
    assert [(act.pair, act.grade, act.by) for act in workspace.resolutions()] == [
        (("q2", "short"), 2, "anna")
    ]


@pytest.mark.parametrize(("size", "dark"), [(DESKTOP, False), (PHONE, True)], ids=["desktop", "phone, dark"])
async def test_it_is_accessible(
    browser: Browser, workspace: Workspace, shelf: Shelf, size: tuple[int, int], dark: bool
) -> None:
    async with judging(browser, workspace, shelf, size=size, dark=dark) as (_, tab):
        await tab.keyboard.press("s")
        await expect(tab.locator("#place")).to_contain_text("1 of")
        assert await violations(tab) == []
        assert await overflow(tab) == 0
        await tab.keyboard.press("?")
        assert await violations(tab) == []
