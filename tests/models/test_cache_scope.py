"""What one caller had scored: who else gets it, and who can tell."""

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final

import pytest
from multidict import CIMultiDict
from prometheus_client import CollectorRegistry

from rerank_proxy.engine import Engine, Scores
from rerank_proxy.upstream import callers
from rerank_proxy.upstream.callers import CallerDigests
from tests.models.conftest import TinyModel
from tests.models.samples import texts
from tests.support.engines import running
from tests.support.raw_http import TIMEOUT_S
from tests.support.valkey import valkey
from tests.support.waiting import until_true

QUERY: Final = "who carries water to the sea?"
WINDOW: Final = texts(12)
ALICE, BOB = "Basic YWxpY2U6cA==", "Basic Ym9iOnA="
PASSWORD: Final = "kept secret"


@pytest.fixture(scope="module")
def server() -> Iterator[int]:
    with valkey("--requirepass", PASSWORD) as port:
        yield port


class Asked:
    """An engine with its metrics, asked in the name of callers."""

    def __init__(self, engine: Engine, registry: CollectorRegistry, digests: CallerDigests) -> None:
        self._engine = engine
        self._registry = registry
        self._digests = digests

    async def scores(self, authorization: str, window: Sequence[str] = WINDOW) -> Scores:
        callers.enter(lambda: self._digests.of(CIMultiDict(Authorization=authorization)))
        return await self._engine.scores("m", QUERY, window)

    def count(self, name: str, **labels: str) -> int:
        return int(self._registry.get_sample_value(f"rerank_proxy_engine_{name}", labels) or 0)

    @property
    def ran(self) -> int:
        return self.count("pairs_scored_total", model="m")


@asynccontextmanager
async def asked(
    tiny_model: TinyModel, digests: CallerDigests | None = None, **settings: Any
) -> AsyncIterator[Asked]:
    registry = CollectorRegistry()
    async with running({"m": tiny_model("bert")}, registry, **settings) as engine:
        yield Asked(engine, registry, digests or CallerDigests())


@pytest.mark.parametrize(
    ("scope", "of_another", "of_the_same"), [("shared", 12, 12), ("caller", 0, 12), ("none", 0, 0)]
)
async def test_who_gets_what_was_scored(
    tiny_model: TinyModel, scope: str, of_another: int, of_the_same: int
) -> None:
    async with asked(tiny_model, cache_scope=scope) as engine:
        first = await engine.scores(ALICE)
        assert (first.cached, engine.ran) == (0, 12)
        again = await engine.scores(ALICE)
        assert (again.cached, engine.ran) == (of_the_same, 24 - of_the_same)
        ran = engine.ran
        other = await engine.scores(BOB)
        assert (other.cached, engine.ran - ran) == (of_another, 12 - of_another)
        assert list(first.values) == list(again.values) == pytest.approx(list(other.values))


@pytest.mark.parametrize(("scope", "ran"), [("shared", 12), ("caller", 24), ("none", 24)])
async def test_none_waits_for_what_another_has_under_way(tiny_model: TinyModel, scope: str, ran: int) -> None:
    """It would be done sooner than what it asks for takes."""
    async with asked(tiny_model, cache_scope=scope) as engine:
        await asyncio.gather(engine.scores(ALICE), engine.scores(BOB))  # each in a task of its own
        assert engine.ran == ran


async def test_a_text_that_is_there_twice_is_scored_once(tiny_model: TinyModel) -> None:
    async with asked(tiny_model, cache_scope="none") as engine:
        await engine.scores(ALICE, [*WINDOW, *WINDOW])
        assert engine.ran == 12


async def test_replicas_share_the_scores_of_one_caller(tiny_model: TinyModel, server: int) -> None:
    cache = {"url": f"redis://127.0.0.1:{server}", "password": PASSWORD, "timeout_s": TIMEOUT_S}
    settings: dict[str, Any] = {"cache_scope": "caller", "shared_cache": cache}
    async with (
        asked(tiny_model, CallerDigests(PASSWORD.encode()), **settings) as one,
        asked(tiny_model, CallerDigests(PASSWORD.encode()), **settings) as other,
    ):
        await until_true(lambda: one.count("shared_cache_used") == other.count("shared_cache_used") == 1)
        await one.scores(ALICE)
        await until_true(lambda: one.count("shared_cache_written_total") >= 12)
        assert (await other.scores(BOB)).cached == 0
        assert (await other.scores(ALICE)).cached == 12
        assert other.ran == 12
