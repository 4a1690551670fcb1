"""The report of an evaluation, as a browser opens it from a disk."""

from pathlib import Path

import pytest
from playwright.async_api import Browser

from rerank_proxy.relevance.report.document import document_of
from rerank_proxy.relevance.report.files import write_report
from tests.support.browser import DESKTOP, PHONE, overflow, violations, visit
from tests.support.evaluations import evaluation

READABLE = 9.0
"""Pixels of the smallest text in a plot that a phone's screen shows sharply."""
SIZES = """plots => plots.map(plot => [
    plot.scrollWidth - plot.clientWidth,
    Math.min(...[...plot.querySelectorAll("text")].map(text => text.getBoundingClientRect().height)),
])"""
HOSTILE = "<img src=//example.com/x onerror=alert(1)> {{query}}"


@pytest.mark.asyncio(loop_scope="session")
@pytest.mark.parametrize(("size", "dark"), [(DESKTOP, False), (DESKTOP, True), (PHONE, False)])
async def test_it_breaks_no_rule_of_accessibility_and_asks_nothing(
    browser: Browser, tmp_path: Path, size: tuple[int, int], dark: bool
) -> None:
    made = evaluation(text=HOSTILE, queries=12, endpoints=("small",))
    write_report(made, document_of(made), tmp_path)
    async with visit(browser, "file://", f"{tmp_path}/report.html", size=size, dark=dark) as page:
        await page.evaluate("document.querySelectorAll('details').forEach(each => each.open = true)")
        assert await violations(page) == []
        assert await overflow(page) <= 0
        assert await page.locator("svg:visible").count() == 4
        sizes = await page.locator(".plot:visible").evaluate_all(SIZES)
        assert all(wider <= 0 and smallest >= READABLE for wider, smallest in sizes), sizes
