"""The playground in a real browser, with a real proxy behind it: what a visitor does, and sees."""

import json
import re
import shlex
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlencode

import pytest
from elasticsearch import Elasticsearch
from playwright.async_api import Browser, Locator, Page, Route, expect

from testbed.proxy import RunningProxy
from tests.live.conftest import ENDPOINT, MakeIndex
from tests.support.browser import DESKTOP, PHONE, overflow, violations, visit
from tests.support.searches import reranking

pytestmark = pytest.mark.asyncio(loop_scope="session")

FILMS: Final[list[dict[str, Any]]] = json.loads(
    (Path(__file__).parents[2] / "demo/films.json").read_text(encoding="utf-8")
)
QUESTION: Final = "flesh-eating bad guy"
FIRST: Final = "The Silence of the Lambs"


@pytest.fixture
def films(make_index: MakeIndex) -> str:
    return make_index(FILMS, settings={"number_of_shards": 1})


def shared(index: str, **more: str) -> str:
    """Return the address of the page with a search in it, as one visitor sends it to another."""
    search = {"index": index, "field": "plot", "a": ENDPOINT, "query": QUESTION, "words": "crime"}
    return "/#" + "&".join(
        f"{name}={value}" for name, value in {**search, "fields": "plot,genre", **more}.items()
    )


async def searched(page: Page) -> None:
    await expect(page.locator("#search")).not_to_have_attribute("aria-busy", "true")
    await page.click("#go")
    await expect(page.locator("#copies")).to_be_visible()


async def titles(page: Page, side: str) -> list[str]:
    return await page.locator(f"[data-side={side}] h4").all_text_contents()


async def test_a_search_by_keyboard_alone(browser: Browser, proxy: RunningProxy, films: str) -> None:
    async with visit(browser, proxy.admin.url, shared(films, query="")) as page:
        await expect(page.locator("#query")).to_be_focused()
        await page.keyboard.type(QUESTION)
        await page.keyboard.press("Enter")
        await expect(page.locator("#said")).to_have_text(
            re.compile(rf"^Found\. {re.escape(ENDPOINT)}: \d+ up")
        )
        assert (await titles(page, "a"))[0] == FIRST
        assert (await titles(page, "plain"))[0] != FIRST
        assert await page.locator("svg.lines .line.up").count() > 2
        assert await page.locator("[data-side=plain] mark").first.text_content() == "crime"
        await page.locator("#url").focus()
        for _ in range(3):
            await page.keyboard.press("Shift+Tab")
        await expect(page.locator("#forms button").nth(2)).to_be_focused()
        await page.keyboard.press("Enter")
        await expect(page.locator("#copied")).to_contain_text("@elastic/elasticsearch")


async def test_what_the_model_saw_and_where_the_time_went(
    browser: Browser, proxy: RunningProxy, films: str
) -> None:
    question = "someone who eats people"  # of no other test: the cache knows no score
    async with visit(browser, proxy.admin.url, shared(films, query=question)) as page:
        await searched(page)
        see = page.locator("[data-side=a] .hit").first.locator(".see")
        await see.press("Enter")
        await expect(page.locator(".seen-text").first).to_contain_text("a brilliant psychiatrist")
        await expect(page.locator(".seen-text").first).to_contain_text("tokens")
        stages = await page.locator("#waterfall tbody th[scope=row]").all_text_contents()
        assert {"parse", "upstream", "tokenise", "score", "splice"} <= set(stages)
        await page.click("#as-table summary")
        row = page.locator("#table tbody tr").first
        assert FIRST in (await row.all_inner_texts())[0]
        assert "up 6 places, was 7" in (await row.all_inner_texts())[0]
        await searched(page)
        await expect(page.locator("[data-side=a] .facts")).to_contain_text("from the cache")


async def test_a_text_that_is_cut_and_its_chunks(
    browser: Browser, proxy: RunningProxy, make_index: MakeIndex
) -> None:
    """Outside of the Basic Multilingual Plane a character is two of JavaScript's units."""
    text = "🐟 The committee spoke about the harvest and the price of salt. " * 40
    whole = f"{text}A shark was seen near the beach."
    index = make_index([{"plot": whole}])
    search = shared(index, query="danger in the sea", words="committee", fields="plot", minScore="-1")
    async with visit(browser, proxy.admin.url, search) as page:
        await searched(page)
        seen = page.locator(".seen-text")
        await expect(page.locator(".see")).to_contain_text("The model saw ")
        await page.click(".see")
        await expect(seen.locator("del")).to_contain_text("A shark was seen near the beach.")
        shown = await seen.locator("p").nth(1).text_content()
        assert shown == whole.replace(await cut(seen), f"cut here{await cut(seen)}")
        await page.check("#chunks")
        await searched(page)
        await expect(page.locator(".see")).to_contain_text("The model saw 3 chunks of the text")
        await page.click(".see")
        await expect(seen.locator(".best")).to_contain_text("the best one counts")
        for chunk in await seen.locator("li p:last-child").all_text_contents():
            assert chunk.strip() in whole
            assert chunk.lstrip()[0] in "🐟A"


async def cut(seen: Locator) -> str:
    """Return the part of a text that the model did not read."""
    return str(await seen.locator("del").text_content())


async def test_two_endpoints_against_each_other(browser: Browser, proxy: RunningProxy, films: str) -> None:
    async with visit(browser, proxy.admin.url, shared(films, b=ENDPOINT)) as page:
        await searched(page)
        assert await titles(page, "b") == await titles(page, "a")
        await expect(page.locator("#column-b")).to_have_text(f"{ENDPOINT} (again)")
        assert await page.locator("svg.lines .line.same").count() >= 10
        await page.set_viewport_size({"width": PHONE[0], "height": PHONE[1]})
        await expect(page.locator("[data-side=b]")).to_be_hidden()
        await page.locator("#sides button").nth(2).click()
        await expect(page.locator("[data-side=b]")).to_be_visible()
        await expect(page.locator(".slope")).to_be_visible()


@pytest.mark.parametrize("body", ["<html>Sign in</html>", {"hits": {"hits": {}}}, None])
async def test_an_answer_without_hits_of_a_search(
    browser: Browser, proxy: RunningProxy, films: str, body: Any
) -> None:
    """It is not said to have found nothing: a page for signing in may stand before Elasticsearch."""

    async def answered(route: Route) -> None:
        if json.loads(route.request.post_data or "")["path"].endswith("/_search"):
            await route.fulfill(
                json={"status": 200, "headers": {}, "took_ms": 1, "body": body, "record": None}
            )
        else:
            await route.continue_()

    async with visit(browser, proxy.admin.url, shared(films)) as page:
        await page.route("**/playground/request", answered)
        await page.click("#go")
        await expect(page.locator("#notes")).to_contain_text("The answer is not that of a search.")
        await expect(page.locator("#results")).to_be_hidden()


async def test_a_whole_body_and_its_faults(browser: Browser, proxy: RunningProxy, films: str) -> None:
    async with visit(browser, proxy.admin.url, shared(films)) as page:
        await page.click("#by-body")
        await expect(page.locator("#body")).to_be_visible()
        await expect(page.locator("#a")).to_have_value("")  # the endpoint is what the body says
        written = await page.input_value("#body")
        assert f'"inference_id": "{ENDPOINT}"' in written
        await page.fill("#body", written.replace('"plot",', '"plot"', 1))
        await page.keyboard.press("Control+Enter")
        await expect(page.locator("#body-fault")).to_contain_text("Line 11, column 17: expected “,” or “]”")
        await page.fill("#body", written.replace("multi_match", "multi_mtch"))
        await page.keyboard.press("Control+Enter")
        notes = page.locator("#notes")
        await expect(notes).to_contain_text("did you mean [multi_match]?")
        await expect(notes).to_contain_text("[7:27]")
        await expect(notes).to_contain_text("What to do:")
        assert await violations(page) == []
        bare = {"text_similarity_reranker": {"windowsize": 3}}
        for indent, place in ((None, "[1:31]"), (1, "[3:3]")):
            await page.fill("#body", json.dumps(bare, indent=indent))
            await page.keyboard.press("Control+Enter")
            await expect(notes).to_contain_text("did you mean [rank_window_size]?")
            await expect(notes).to_contain_text(place)
        # Another endpoint is put into the body that is sent: its lines stay those that are seen.
        await page.select_option("#a", ENDPOINT)
        await page.fill("#body", " ".join(written.replace("rank_window_size", "windowsize").split()))
        await page.keyboard.press("Control+Enter")
        await expect(notes).to_contain_text(
            re.compile(r"\[1:\d{3}\] \[text_similarity_reranker\] unknown field")
        )
        await page.fill("#body", json.dumps({**json.loads(written), "size": 1}, indent=1))
        await page.keyboard.press("Control+Enter")
        await expect(page.locator("#results")).to_be_visible()
        assert (await titles(page, "a"))[0] == FIRST
        assert len(await titles(page, "a")) == 2  # the first plain hit is shown, too


async def test_a_search_that_takes_long_can_be_stopped(
    browser: Browser, proxy: RunningProxy, films: str
) -> None:
    """What is shown meanwhile is said to be the search's before."""

    async def never_answered(route: Route) -> None:
        pass

    async with visit(browser, proxy.admin.url, shared(films)) as page:
        await searched(page)
        await page.route("**/playground/request", never_answered)
        await page.fill("#query", "a friendly shark")
        await page.locator("#query").press("Enter")
        await expect(page.locator("#progress")).to_contain_text(re.compile(r"The plain search: \d+ s"))
        await expect(page.locator("#main")).to_have_class("waiting")
        await page.locator("#stop").press("Enter")
        await expect(page.locator("#go")).to_be_focused()
        await expect(page.locator("#progress")).to_be_empty()
        await expect(page.locator("#said")).to_have_text("Stopped.")
        await expect(page.locator("#results-title")).to_have_text(f"Plain and reranked: “{QUESTION}”")


def written(index: str, retriever: dict[str, Any], size: int = 10) -> tuple[dict[str, Any], str]:
    """Return a search, and the address of the page with its body."""
    body = {"retriever": retriever, "size": size}
    return body, "/#" + urlencode({"mode": "body", "index": index, "body": json.dumps(body)})


async def test_something_above_a_reranker_gives_the_order(
    browser: Browser, proxy: RunningProxy, films: str
) -> None:
    """Places and scores are the answer's; the plain side asks for no more than what combines takes."""
    reranker = reranking({"standard": {"query": {"match": {"genre": "drama"}}}}, field="plot")["retriever"]
    by_words = {"standard": {"query": {"match": {"genre": "crime"}}}}
    fused = {"rrf": {"retrievers": [reranker, by_words], "rank_window_size": 8}}
    body, address = written(films, fused, size=3)
    async with visit(browser, proxy.admin.url, address) as page:
        await searched(page)
        places = await page.locator("[data-side=a] .place").all_text_contents()
        assert places[:3] == ["1", "2", "3"]
        assert set(places[3:]) <= {"✕"}
        found = await titles(page, "a")
        assert set(found) == set(await titles(page, "plain"))
        assert await page.locator("[data-side=a] dt", has_text="model").count() == 0
        await expect(page.locator("#legend")).to_contain_text("final score")
        assert await page.locator("[data-side=a] .see").count() > 0
    with Elasticsearch(proxy.server.url) as client:
        hits = client.search(index=films, body=body)["hits"]["hits"]
    assert found[:3] == [hit["_source"]["title"] for hit in hits]


async def test_each_of_several_rerankers_says_what_it_saw(
    browser: Browser, proxy: RunningProxy, films: str
) -> None:
    inner = reranking({"standard": {"query": {"match": {"genre": "drama"}}}}, field="plot")["retriever"]
    _, address = written(films, reranking(inner, field="plot")["retriever"])
    async with visit(browser, proxy.admin.url, address) as page:
        await searched(page)
        rows = page.locator("[data-side=a] .facts")
        await expect(rows).to_contain_text(["applied", f"Reranker 1 ({ENDPOINT}, plot)", "Reranker 2"])
        see = page.locator("[data-side=a] .hit").first.locator(".see")
        await expect(see).to_contain_text(["What reranker 1 saw", "What reranker 2 saw"])
        await see.last.click()
        await expect(page.locator(".seen-text")).to_contain_text("Reranker 2: ")


async def test_integers_are_sent_and_copied_as_they_are_written(
    browser: Browser, proxy: RunningProxy, make_index: MakeIndex
) -> None:
    """Also those that JavaScript's numbers do not hold, in what is changed of a body."""
    exact = 2**53 + 1
    docs = [{"plot": "a shark", "title": str(number), "number": number} for number in (exact, exact - 1)]
    index = make_index(docs)
    retriever = reranking({"standard": {"query": {"term": {"number": exact}}}}, field="plot")["retriever"]
    _, address = written(index, retriever)
    async with visit(browser, proxy.admin.url, f"{address}&a={ENDPOINT}") as page:
        await searched(page)
        for side in ("plain", "a"):
            assert await titles(page, side) == [str(exact)]
        await expect(page.locator("#copied")).to_contain_text(str(exact))


async def test_marked_words_are_those_of_the_highlighter(
    browser: Browser, proxy: RunningProxy, make_index: MakeIndex
) -> None:
    """Of a phrase not each word anywhere, of a Chinese word its characters; no character is cut in half."""
    texts = ["A new hope, and a new York, for New York", f"東京 and 北京 {'🙂' * 200}"]
    index = make_index([{"plot": text} for text in texts], settings={"number_of_shards": 1})
    phrase = {"query_string": {"query": 'plot:"for new york" OR plot:東京'}}
    _, address = written(index, reranking({"standard": {"query": phrase}}, field="plot")["retriever"])
    async with visit(browser, proxy.admin.url, address) as page:
        await searched(page)
        for side in ("plain", "a"):
            marks = await page.locator(f"[data-side={side}] .excerpt mark").all_text_contents()
            assert sorted(marks) == sorted(["for New York", "東", "京", "京"])
            shown = await page.locator(f"[data-side={side}] .excerpt", has_text="東").inner_text()
            assert set(shown) <= {*texts[1], "…"}


async def test_what_hits_say_is_never_more_than_text(
    browser: Browser, proxy: RunningProxy, make_index: MakeIndex
) -> None:
    evil = "<img src=x onerror=alert(1)><script>alert(2)</script>\u202e\ue000\ue001{{7*7}}"
    documents = [
        {
            "title": f"{evil} {n}",
            "<b onclick=alert(3)>": f"crime {evil} '\"`$(alert)",
            "javascript:alert(4)": "crime",
        }
        for n in range(3)
    ]
    index = make_index(documents)
    async with visit(browser, proxy.admin.url, f"/#index={index}&query=crime") as page:
        await page.select_option("#field", "<b onclick=alert(3)>")
        await searched(page)
        assert (await titles(page, "a"))[0].startswith("<img src=x onerror=alert(1)><script>")
        for name in (1, 2, 3):
            await page.locator("#forms button").nth(name).click()
        await page.click("#as-table summary")
        await page.locator(".see").first.click()
        await page.click("#open-history")
        assert await page.locator("main img, main script, [onclick], [onerror]").count() == 0


async def test_searches_are_remembered_here_alone(browser: Browser, proxy: RunningProxy, films: str) -> None:
    async with visit(browser, proxy.admin.url, shared(films)) as page:
        await searched(page)
        await page.fill("#query", "a friendly shark")
        await searched(page)
        await page.click("#open-history")
        await expect(page.locator("#earlier button")).to_have_count(2)
        await page.locator("#earlier button").nth(1).click()
        await expect(page.locator("#query")).to_have_value(QUESTION)
        await expect(page.locator("#results")).to_be_visible()
        await expect(page).to_have_url(re.compile(r"query=flesh-eating\+bad\+guy"))
        await page.reload()
        await expect(page.locator("#query")).to_have_value(QUESTION)
        await expect(page.locator("#a")).to_have_value(ENDPOINT)
        await page.click("#open-history")
        await page.click("#clear-history")
        await expect(page.locator("#earlier button")).to_have_count(0)
        assert await page.evaluate("Object.keys(localStorage)") == []


async def test_what_is_copied_works(
    browser: Browser, proxy: RunningProxy, films: str, capsys: pytest.CaptureFixture[str]
) -> None:
    async with visit(browser, proxy.admin.url, shared(films, window="16", size="5")) as page:
        await searched(page)
        await page.fill("#url", proxy.server.url)
        texts = {}
        for button in await page.locator("#forms button").all():
            await button.click()
            texts[await button.text_content()] = await page.locator("#copied").inner_text()
        expected = await titles(page, "a")
    with Elasticsearch(proxy.server.url) as client:
        hits = client.search(index=films, body=json.loads(texts["JSON"]))["hits"]["hits"]
    assert [hit["_source"]["title"] for hit in hits] == expected[:5]
    exec(compile(texts["Python"], "copied", "exec"), {})
    assert capsys.readouterr().out.split()[1::2] == [hit["_id"] for hit in hits]


async def test_no_name_in_a_body_becomes_code(browser: Browser, proxy: RunningProxy) -> None:
    """A body may come by a link, from someone who would have it copied and run."""
    body = {"retriever": {}, "x=__import__('os').abort(), y": "'; exit; '"}
    async with visit(browser, proxy.admin.url) as page:
        texts = await page.evaluate(
            """async (body) => {
              const { FORMS } = await import("/pages/copies.js");
              const search = { url: "http://localhost:9201", index: "'; exit; '", body, kind: null };
              return Object.fromEntries(FORMS.map(({ name, text }) => [name, text(search)]));
            }""",
            body,
        )
    assert compile(texts["Python"], "copied", "exec").co_names == ()
    assert shlex.split(texts["curl"])[-1] == json.dumps(body, indent=2)
    assert json.loads(texts["JSON"]) == body


async def test_a_page_that_is_left_keeps_no_credentials(browser: Browser, proxy: RunningProxy) -> None:
    """Browsers keep pages that were left as they were; leaving one is this event to it."""
    async with visit(browser, proxy.admin.url) as page:
        await page.click("#sign-in")
        await page.fill("#api-key", "a-key-that-is-none")
        await page.locator("#api-key").press("Enter")
        await expect(page.locator("#visitor")).to_have_text("as an API key")
        await page.click("#sign-in")
        await page.fill("#api-key", "half of a k")
        await page.evaluate("dispatchEvent(new PageTransitionEvent('pagehide', { persisted: true }))")
        await expect(page.locator("#visitor")).to_have_text("not signed in")
        await expect(page.locator("#api-key")).to_have_value("")


async def test_nothing_found_and_what_cannot_be_searched_for(
    browser: Browser, proxy: RunningProxy, films: str
) -> None:
    async with visit(browser, proxy.admin.url, shared(films, words="zeppelin"), dark=True) as page:
        await page.click("#go")
        await expect(page.locator("#notes")).to_contain_text("“zeppelin” finds nothing")
        await page.fill("#query", "")
        await page.click("#go")
        await expect(page.locator("#notes")).to_contain_text("Write a question.")
        await expect(page.locator("#query")).to_be_focused()
        await page.select_option("#index", label="another one …")
        await page.fill("#other-index", "no-such-index")
        await page.fill("#query", "anything")
        await page.locator("#query").press("Enter")
        await expect(page.locator("#notes")).to_contain_text("no such index [no-such-index]")
        assert await violations(page) == []


@pytest.mark.parametrize(("size", "dark"), [(PHONE, True), (DESKTOP, False)])
async def test_everyone_can_use_it(
    browser: Browser, proxy: RunningProxy, films: str, size: tuple[int, int], dark: bool
) -> None:
    async with visit(browser, proxy.admin.url, shared(films), size=size, dark=dark) as page:
        await expect(page.locator(".welcome")).to_be_visible()
        assert await violations(page) == []
        await searched(page)
        await page.locator(".see").first.click()
        await page.click("#as-table summary")
        assert await overflow(page) == 0
        assert await violations(page) == []
        await page.click("#sign-in")
        assert await overflow(page) == 0


async def test_the_switch_of_colours(browser: Browser, proxy: RunningProxy) -> None:
    ground = "getComputedStyle(document.body).backgroundColor"
    async with visit(browser, proxy.admin.url, "/status", dark=True) as page:
        as_the_system_has_it = await page.evaluate(ground)
        await page.click("[data-theme-switch]")
        light = await page.evaluate(ground)
        assert light != as_the_system_has_it
        await page.goto("/")
        assert await page.evaluate(ground) == light
        await page.click("[data-theme-switch]")
        assert await page.evaluate(ground) == as_the_system_has_it
