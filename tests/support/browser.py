"""Chromium: pages as visitors meet them, and what none of them may do.

A page of a test may not write to the console, may not ask anything of another origin than its own, and may
not break the rules of its Content-Security-Policy: `visit` fails the test for that.
"""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final
from urllib.parse import urlsplit

from axe_playwright_python.async_playwright import Axe
from playwright.async_api import (
    Browser,
    ConsoleMessage,
    Dialog,
    Page,
    Request,
    async_playwright,
    expect,
)

from testbed.chromium import chromium
from testbed.errors import TestbedError
from tests.support.obtained import cannot_be_had

PHONE: Final = (360, 740)
DESKTOP: Final = (1400, 900)
_TIMEOUT_MS: Final = 120_000
"""For a machine that is busy: nothing here waits as long as that without being wrong."""


@asynccontextmanager
async def running_browser() -> AsyncIterator[Browser]:
    """Run the browser for the length of the block, if it can be had."""
    try:
        found = chromium()
    except TestbedError as failure:
        cannot_be_had(str(failure))
    expect.set_options(timeout=_TIMEOUT_MS)
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path=str(found.program),
            env={**os.environ, **found.environment},
            timeout=_TIMEOUT_MS,
        )
        yield browser
        await browser.close()


@asynccontextmanager
async def visit(
    browser: Browser,
    origin: str,
    path: str = "/",
    *,
    size: tuple[int, int] = DESKTOP,
    dark: bool = False,
    expected: tuple[str, ...] = (),
) -> AsyncIterator[Page]:
    """Open a page in a browser of its own that remembers nothing; fail for what no page may do.

    Args:
        origin: Scheme, host and port.
        size: Width and height of the window.
        expected: Parts of lines on the console that the test brings about itself, such as a refused request.
    """
    context = await browser.new_context(
        base_url=origin,
        viewport={"width": size[0], "height": size[1]},
        color_scheme="dark" if dark else "light",
        reduced_motion="reduce",
    )
    context.set_default_timeout(_TIMEOUT_MS)
    page = await context.new_page()
    said = _listening(page, origin)
    try:
        await page.goto(path)
        yield page
    finally:
        await context.close()
    unexpected = [line for line in said if not any(part in line for part in expected)]
    assert not unexpected, f"a page may not do that: {unexpected}"


def _listening(page: Page, origin: str) -> list[str]:
    """Return the list that what the page does and may not do is added to."""
    said: list[str] = []

    def on_console(line: ConsoleMessage) -> None:
        kind: str = line.type  # among them is [verbose], advice that playwright's types do not know
        if kind != "verbose":
            said.append(f"{kind}: {line.text}")

    async def on_dialog(dialog: Dialog) -> None:
        said.append(f"dialog: {dialog.message}")
        await dialog.dismiss()

    def on_request(request: Request) -> None:
        parts = urlsplit(request.url)
        if f"{parts.scheme}://{parts.netloc}" != origin:
            said.append(f"asked: {request.url}")

    page.on("console", on_console)
    page.on("dialog", on_dialog)
    page.on("request", on_request)
    page.on("pageerror", lambda error: said.append(f"thrown: {error}"))
    return said


async def violations(page: Page) -> list[str]:
    """Return what axe-core has against a page as it is now: the rule, and where it is broken."""
    results = (await Axe().run(page)).response["violations"]
    return [f"{each['id']}: {_places(each)}" for each in results]


async def overflow(page: Page) -> int:
    """Return by how many pixels a page is wider than its window."""
    width = await page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    return int(width)


def _places(violation: dict[str, Any]) -> str:
    return "; ".join(f"{node['target']} {node.get('failureSummary', '')}" for node in violation["nodes"])
