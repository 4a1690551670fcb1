"""The page of a judge over the demo's films, as its commands serve it, for its picture."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from playwright.async_api import Page

QUERY: Final = "a criminal who is hunted by the police"
"""The one that is shown."""
_QUERIES: Final = (QUERY, "a journey through space and time", "small people in danger", "an honest man")
_GRADES: Final = {
    "The Silence of the Lambs": "3",
    "Se7en": "3",
    "Heat": "3",
    "Fargo": "3",
    "The Departed": "2",
    "Goodfellas": "1",
    "The Dark Knight": "1",
    "The Usual Suspects": "1",
}
"""What a person might say of the films for it; all others do not answer it at all."""
_JUDGED: Final = 2
"""Documents with a grade in the picture: the third one waits for one."""
_COMMAND: Final = (sys.executable, "-m", "rerank_proxy", "judge")


@contextmanager
def judging(url: str, index: str, endpoint: str) -> Iterator[str]:
    """Make a pool in the current directory, and serve its page for the length of the block.

    Yields:
        The address that opens the page, once.
    """
    queries = (f"{number}\t{text}\n" for number, text in enumerate(_QUERIES, 1))
    Path("queries.tsv").write_text("".join(queries), encoding="utf-8")
    at = ["--url", url]
    systems = ["--system", "bm25:plot", "--endpoint", endpoint, "--field", "plot", "--depth", "6"]
    shown = ["--index", index, "--show", "title", "--show", "plot"]
    subprocess.run([*_COMMAND, "pool", "judging", "queries.tsv", *shown, *systems, *at], check=True)
    opened = [*_COMMAND, "open", "judging", "--as", "anna", *at]
    with subprocess.Popen(opened, stdout=subprocess.PIPE, text=True) as page:
        try:
            assert page.stdout is not None
            yield page.stdout.readline().removeprefix("open ").strip()
        finally:
            page.terminate()


async def judge(page: Page) -> None:
    """Go to the query, and grade its first documents."""
    await page.wait_for_selector("#documents > li")
    await page.select_option("#jump", label=await _label(page))
    await page.wait_for_function("query => document.querySelector('#query').textContent === query", arg=QUERY)
    for place in range(1, _JUDGED + 1):
        document = page.locator(f"#documents > li:nth-child({place})")
        text = await document.inner_text()
        grades = (grade for title, grade in _GRADES.items() if title in text)
        await page.keyboard.press(next(grades, "0"))
        await page.wait_for_selector(f"#documents > li:nth-child({place + 1})[aria-current=true]")
    await page.evaluate("scrollTo(0, 0)")


async def _label(page: Page) -> str:
    """Return what the list of queries calls the one that is shown, which has numbers of documents, too."""
    labels = await page.locator("#jump option").all_inner_texts()
    return next(label for label in labels if QUERY in label)
