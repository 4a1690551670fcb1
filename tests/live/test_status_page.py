"""The status page in a real browser, and what a visitor of any page is asked for."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.async_api import Browser, Page, Route, expect

from testbed import RunningElasticsearch
from testbed.proxy import RunningProxy
from tests.live.conftest import ENDPOINT, MakeIndex
from tests.support.accounts import PASSWORD
from tests.support.browser import DESKTOP, PHONE, overflow, violations, visit

pytestmark = pytest.mark.asyncio(loop_scope="session")

TOKEN = "a-token-that-is-not-guessed"
REFUSED = "the server responded with a status of 401"
"""What Chromium writes to the console by itself."""


@pytest.mark.parametrize(("size", "dark"), [(PHONE, False), (DESKTOP, True)])
async def test_the_state_of_the_proxy(
    browser: Browser, proxy: RunningProxy, size: tuple[int, int], dark: bool
) -> None:
    async with visit(browser, proxy.admin.url, "/status", size=size, dark=dark) as page:
        await expect(page.locator("#state")).to_contain_text("Ready")
        await expect(page.locator("section[aria-label=Models]")).to_contain_text("minilm")
        await expect(page.locator("section[aria-label=Endpoints]")).to_contain_text(ENDPOINT)
        await expect(page.locator("#parts")).to_contain_text("admin.listen")
        assert await overflow(page) == 0
        assert await violations(page) == []


async def test_it_refreshes_itself_while_it_is_seen(
    browser: Browser, proxy: RunningProxy, make_index: MakeIndex
) -> None:
    """The clock is the test's: no time passes but what it lets pass."""
    async with visit(
        browser, proxy.admin.url, "about:blank", expected=("ERR_INTERNET_DISCONNECTED",)
    ) as page:
        await page.clock.install()
        await page.goto("/status")
        await expect(page.locator("#age")).to_have_text("up to date")
        asked: list[str] = []
        page.on("request", lambda request: asked.append(request.url))
        async with page.expect_response("**/status.json"):
            await page.clock.run_for(5_100)
        await hide(page, True)
        asked.clear()
        await page.clock.run_for(60_000)
        assert asked == []
        await expect(page.locator("#age")).to_have_text("60 s old")
        async with page.expect_response("**/status.json"):
            await hide(page, False)
        await page.context.set_offline(True)
        await page.clock.run_for(21_000)
        await expect(page.locator("#notes")).to_contain_text("The proxy does not answer")
        await expect(page.locator("#notes")).to_contain_text("old")
        assert await violations(page) == []
        await page.context.set_offline(False)
        async with page.expect_response("**/status.json"):
            await page.clock.run_for(5_100)
        await expect(page.locator("#notes")).to_be_empty()


@pytest.mark.parametrize(
    ("low", "high", "said"), [(0.55, 0.7, "preferred"), (0.2, 0.4, "not preferred"), (0.4, 0.6, "undecided")]
)
async def test_which_order_users_prefer(
    browser: Browser, proxy: RunningProxy, low: float, high: float, said: str
) -> None:
    endpoint = {"endpoint": "an_endpoint", "model": "m"}
    counts = {"win": 1200, "tie": 3, "loss": 4, "preferred": {"share": 0.6, "low": low, "high": high}}
    online = {
        "mrr": [{"mode": "interleaved", **endpoint, "searches": 1207, "before": 1 / 3, "after": 0.5}],
        "interleaved": [{**endpoint, "against": "first_stage", **counts}],
    }

    async def told(route: Route) -> None:
        answer = await route.fetch()
        await route.fulfill(response=answer, json={**await answer.json(), "online": online})

    async with visit(browser, proxy.admin.url, "about:blank", size=PHONE) as page:
        await page.route("**/status.json", told)
        await page.goto("/status")
        row = page.locator("section[aria-label^=Which] tbody tr")
        await expect(row).to_contain_text("first stage")
        await expect(row.locator(".chip")).to_have_text(said)
        await expect(page.locator("section[aria-label^=Where] tbody tr")).to_contain_text("0.333")
        assert await overflow(page) == 0
        assert await violations(page) == []


async def test_the_settings_are_in_reach_after_many_searches(browser: Browser, proxy: RunningProxy) -> None:
    """All of the latest are shown to those who ask for them, and stay when the page is refreshed."""
    for _ in range(11):
        proxy.server.call("POST", f"/_inference/rerank/{ENDPOINT}", {"query": "crime", "input": ["a novel"]})
    async with visit(browser, proxy.admin.url, "about:blank", size=PHONE) as page:
        await page.clock.install()
        await page.goto("/status")
        rows = page.locator("section[aria-label^=Latest] tbody tr")
        await expect(rows).to_have_count(10)
        more = page.locator("#all-latest")
        await more.press("Enter")
        await expect(rows.nth(10)).to_be_visible()
        async with page.expect_response("**/status.json"):
            await page.clock.run_for(5_100)
        await expect(more).to_have_text("Show the first 10")
        await expect(more).to_be_focused()
        assert await overflow(page) == 0
        assert await violations(page) == []
        await more.press("Enter")
        await expect(rows).to_have_count(10)


async def test_what_needs_someone_is_at_the_top_of_many(browser: Browser, proxy: RunningProxy) -> None:
    """And says why; a node that is down says so in words."""
    status = json.loads(proxy.admin.call("GET", "/status.json").body)
    fine = {"service": "cohere", "model": "m", "usable": True, "reason": None}
    status["endpoints"] = [
        *({**fine, "inference_id": f"fine-{number}"} for number in range(100, 300)),
        {**fine, "inference_id": "refused", "reason": "the last call failed: its service answers [401]"},
        {**fine, "inference_id": "broken", "usable": False, "reason": "its model [m] failed"},
    ]
    status["upstream"] = [
        {"node": "es:9200", "up": False, "requests": 0, "failures": 4, "times_left_out": 1,
         "reason": "connection refused", "tried_in_s": 3.9},
        {"node": "other:9200", "up": True, "requests": 0, "failures": 0, "times_left_out": 0, "tried": False},
    ]  # fmt: skip
    async with visit(browser, proxy.admin.url, "about:blank") as page:
        await page.route("**/status.json", lambda route: route.fulfill(json=status))
        await page.goto("/status")
        rows = page.locator("section[aria-label=Endpoints] tbody tr")
        await expect(rows).to_have_count(10)
        await expect(rows.nth(0)).to_contain_text("not usable")
        await expect(rows.nth(1)).to_contain_text("failing")
        await expect(rows.nth(1)).to_contain_text("its service answers [401]")
        await expect(page.locator("section[aria-label=Elasticsearch]")).to_contain_text(
            "connection refused; tried again in 4 s; 4 attempts to connect failed; left out 1 time"
        )
        await expect(page.locator("section[aria-label=Elasticsearch]")).to_contain_text("not tried yet")
        await page.get_by_role("button", name="Show all 202").click()
        await expect(rows).to_have_count(202)
        assert await violations(page) == []


async def test_what_is_not_ready_says_what_to_do(browser: Browser, proxy: RunningProxy) -> None:
    """Unless nothing helps: a proxy that stops will not be ready again."""
    status = json.loads(proxy.admin.call("GET", "/status.json").body) | {
        "ready": False,
        "reason": "of a test",
    }
    shown = status | {"models": [{**status["models"][0], "state": "failed"}]}
    async with visit(browser, proxy.admin.url, "about:blank") as page:
        await page.route("**/status.json", lambda route: route.fulfill(json=shown))
        await page.goto("/status")
        await expect(page.locator(".to-do")).to_contain_text("Correct what the reason names")
        shown = status | {"models": [], "engine": {}}
        await page.reload()
        await expect(page.locator(".to-do")).to_contain_text("the log says how the reranking process ended")
        shown = status
        await page.reload()
        await expect(page.locator("#state")).to_contain_text("of a test")
        await expect(page.locator(".to-do")).to_have_count(0)


async def hide(page: Page, hidden: bool) -> None:
    """Have the page believe that no one sees it, or that someone does again."""
    await page.evaluate(
        """hidden => {
            Object.defineProperty(document, "hidden", { value: hidden, configurable: true });
            document.dispatchEvent(new Event("visibilitychange"));
        }""",
        hidden,
    )


@pytest.fixture(scope="module")
def guarded(
    secured: RunningElasticsearch, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RunningProxy]:
    """Run a proxy that wants a token, before an Elasticsearch that wants credentials. It has no model."""
    token = tmp_path_factory.mktemp("admin") / "token"
    token.write_text(TOKEN)
    with RunningProxy(secured.url, options=["--admin-token-file", str(token)]) as running:
        secured.server.call("PUT", "/guarded", {"mappings": {"properties": {"text": {"type": "text"}}}})
        running.wait_ready()  # before it, endpoints cannot be listed
        yield running


async def test_what_is_asked_for_stays_in_memory(browser: Browser, guarded: RunningProxy) -> None:
    async with visit(browser, guarded.admin.url, expected=(REFUSED,)) as page:
        dialog = page.locator("#token")
        await page.fill("#admin-token", "another-token")
        await page.keyboard.press("Enter")
        await expect(page.locator("#token-why")).to_contain_text("That was another token")
        assert await violations(page) == []
        await page.fill("#admin-token", TOKEN)
        await page.keyboard.press("Enter")
        await expect(page.locator("#credentials")).to_be_visible()
        await page.fill("#api-key", "bm9uZTpub25l")
        await page.keyboard.press("Enter")
        await expect(page.locator("#visitor")).to_have_text("as an API key")
        await expect(page.locator("#notes")).to_contain_text(
            "Sign in with credentials that Elasticsearch knows"
        )
        await page.click("#sign-in")
        await page.click("#with-user")
        await page.fill("#user", "elastic")
        await page.fill("#password", PASSWORD)
        await page.keyboard.press("Enter")
        await expect(page.locator("#visitor")).to_have_text("as elastic")
        await expect(page.locator("#notes")).to_contain_text("There is no endpoint that reranks")
        await expect(page.locator("#index option")).not_to_have_count(1)
        assert await violations(page) == []
        await page.fill("#query", "anything")
        await page.keyboard.press("Enter")
        await expect(page.locator("#notes")).to_contain_text("What to do:")
        assert await secrets(page) == []
        await page.reload()
        await expect(dialog).to_be_visible()
        await expect(page.locator("#visitor")).to_have_text("not signed in")


async def secrets(page: Page) -> list[str]:
    """Return where a secret is kept or shown."""
    places = await page.evaluate(
        """async () => ({
            local: JSON.stringify(localStorage), session: JSON.stringify(sessionStorage),
            cookies: document.cookie, page: document.documentElement.outerHTML, address: location.href,
            fields: [...document.querySelectorAll("input")].map(({ value }) => value).join("\\n"),
            databases: JSON.stringify(await indexedDB.databases()),
            caches: String((await caches.keys()).length),
        })"""
    )
    return [name for name, text in places.items() if any(each in text for each in (TOKEN, PASSWORD))]


async def test_skipped_reranking_says_why(
    browser: Browser, proxy: RunningProxy, make_index: MakeIndex
) -> None:
    index = make_index([{"text": "crime"}, {"text": "crime and punishment"}])
    endpoint = "playground-unreachable"
    settings = {"url": "http://vendors:1/rerank", "api_key": "none", "model_id": "any"}
    proxy.server.call(
        "PUT", f"/_inference/rerank/{endpoint}", {"service": "cohere", "service_settings": settings}
    )
    body = {
        "text_similarity_reranker": {
            "retriever": {"standard": {"query": {"match": {"text": "crime"}}}},
            "field": "text",
            "inference_text": "novels",
            "inference_id": endpoint,
            "allow_rerank_failures": True,
        }
    }
    async with visit(browser, proxy.admin.url, f"/#index={index}&mode=body") as page:
        await page.fill("#body", json.dumps(body))
        await page.select_option("#a", "")
        await page.locator("#body").press("Control+Enter")
        await expect(page.locator("#notes")).to_contain_text(f"Reranking by {endpoint} was skipped")
        await expect(page.locator("#notes")).to_contain_text("The reason: ")
        await expect(page.locator("[data-side=a] .facts")).to_contain_text("skipped")
        assert await violations(page) == []


async def test_texts_with_a_fault_are_found_as_python_finds_them(
    browser: Browser, proxy: RunningProxy
) -> None:
    films = json.loads((Path(__file__).parents[2] / "demo/films.json").read_text(encoding="utf-8"))
    whole = json.dumps({"films": films[:1], "numbers": [0, -1.5e3, True, None, "\u00e9\\n"]}, indent=1)
    texts = [
        whole[:at] + each + whole[at + 1 :] for at in range(0, len(whole), 3) for each in ("", '"', "}", "\\")
    ]
    async with visit(browser, proxy.admin.url) as page:
        found = await page.evaluate(
            "async texts => texts.map((await import('/pages/json_text.js')).jsonFault)", texts
        )
    for text, fault in zip(texts, found, strict=True):
        try:
            json.loads(text)
        except json.JSONDecodeError:
            assert fault is not None, text
            assert text.count("\n", 0, fault["at"]) == fault["line"] - 1
        else:
            assert fault is None, (text, fault)
