"""Keys of recordings: who has one gets one recording, once, and there are never many."""

import asyncio
import json
import tracemalloc
from types import SimpleNamespace
from typing import Any, cast

import pytest
from aiohttp.test_utils import TestClient, TestServer
from hypothesis import given
from hypothesis import strategies as st

from rerank_proxy.app import recordings
from rerank_proxy.app.recordings import KEPT_S, MOST, Recordings
from rerank_proxy.engine import Engine
from rerank_proxy.observe.outcome import Applied
from rerank_proxy.search.ranks.ranking import RankDoc
from rerank_proxy.search.recorded import written
from rerank_proxy.search.recording import (
    MAX_CHARACTERS,
    MAX_CHUNKS,
    MAX_DOCS,
    MAX_STAGES,
    RecordedReranker,
    Recording,
)
from rerank_proxy.search.retrievers.ports import Reranking
from rerank_proxy.settings import EngineSettings
from tests.support.app_control import control_app
from tests.support.examples import examples


def recorded(all_: Recordings) -> str:
    """Return the key of a request that was answered."""
    key = all_.new_key()
    assert all_.begin(key) is not None
    all_.end(key, answered=True)
    return key


async def test_a_key_is_good_for_one_request_and_one_recording() -> None:
    all_ = Recordings()
    key = all_.new_key()
    assert all_.begin(key) is not None
    assert all_.begin(key) is None
    all_.end(key, answered=True)
    assert all_.begin(key) is None
    record = await all_.take(key)
    assert record is not None
    assert json.loads(record).keys() == {"took_ms", "cut", "stages", "searches"}
    assert await all_.take(key) is None
    assert all_.begin(key) is None
    assert len(all_) == 0


async def test_any_other_key_is_good_for_nothing() -> None:
    all_ = Recordings()
    key = recorded(all_)
    for wrong in ("", key[:-1], key + "x", key.swapcase(), "x" * 100_000):
        assert all_.begin(wrong) is None
        assert await all_.take(wrong) is None
    assert await all_.take(key) is not None


async def test_a_request_that_goes_upstream_leaves_its_key_good() -> None:
    """It may come again, when upstream has refused it."""
    all_ = Recordings()
    key = all_.new_key()
    assert all_.begin(key) is not None
    all_.end(key, answered=False)
    assert all_.begin(key) is not None
    assert await all_.take(key) is None, "it is not answered yet"
    all_.end(key, answered=True)
    assert len(all_) == 0


async def test_they_are_few_and_do_not_last() -> None:
    now = [0.0]
    all_ = Recordings(lambda: now[0])
    keys = [recorded(all_) for _ in range(MOST + 3)]
    assert len(all_) == MOST
    assert await all_.take(keys[2]) is None
    assert await all_.take(keys[3]) is not None
    now[0] = KEPT_S
    assert all_.begin(all_.new_key()) is not None
    assert await all_.take(keys[-1]) is None
    assert len(all_) == 1


async def test_what_no_one_comes_for_is_forgotten_in_time_without_a_further_request(monkeypatch: Any) -> None:
    """A client may leave between its answer and its recording, which holds texts."""
    now = [0.0]
    monkeypatch.setattr(asyncio.get_running_loop(), "time", lambda: now[0])
    all_ = Recordings(lambda: now[0])
    for now[0] in (0.0, 1.0):
        recorded(all_)
    held = []
    for now[0] in (KEPT_S - 1, KEPT_S, KEPT_S + 0.5, KEPT_S + 1):
        for _ in range(2):  # rounds of the loop: one calls the timers that are due
            await asyncio.sleep(0)
        held.append(len(all_))
    assert held == [2, 1, 1, 0]


def docs(number: int, characters: int) -> list[RankDoc]:
    text = "x" * characters
    return [RankDoc("i", str(at), at, text=text) for at in range(number)]


async def test_their_texts_are_bounded(monkeypatch: Any) -> None:
    monkeypatch.setattr(recordings, "MAX_CHARACTERS", 100)
    all_ = Recordings()
    keys = []
    for _ in range(4):
        keys.append(all_.new_key())
        recording = all_.begin(keys[-1])
        assert recording is not None
        assert len(recording.kept(docs(1, 40))) == 1
        all_.end(keys[-1], answered=True)
    assert [all_._entries.get(key) is not None for key in keys] == [False, False, True, True]


@given(st.lists(st.tuples(st.integers(0, 900), st.integers(0, MAX_CHARACTERS // 1500)), max_size=8))
@examples(0.3)
def test_one_holds_no_more_than_it_may(windows: list[tuple[int, int]]) -> None:
    recording = Recording()
    kept = [(recording.kept(docs(*window)), window[0]) for window in windows]
    assert sum(len(each) for each, _ in kept) <= MAX_DOCS
    assert recording.characters <= MAX_CHARACTERS
    assert recording.cut == any(len(each) < given for each, given in kept)


RERANKER = cast(
    "Reranking",
    SimpleNamespace(inference_id="e", inference_text="q", field="f", rank_window_size=10_000),
)


def reranked(recording: Recording, window: list[RankDoc], chunks: int = 0) -> RecordedReranker:
    """Record that a window was brought into the opposite order, perhaps by chunks of its texts."""
    search = recording.search(0)
    assert search is not None
    made = search.reranker(RERANKER, window)
    texts = [doc.text or "" for doc in window]
    scored = [text[at:] for text in texts for at in range(chunks)] or texts
    made.looked_up(scored, [True] * len(scored))
    if chunks:
        spans = [[(at, len(text)) for at in range(chunks)] for text in texts]
        made.chunked(spans, [1.0] * len(scored))
    outcome = Applied("e", "m", len(window), len(window), len(window), 0, 1.0, "f", True)
    made.applied(outcome, [doc.scored(1.0 / (doc.place + 1)) for doc in reversed(window)])
    return made


@pytest.mark.parametrize(
    ("number", "characters", "chunks"), [(10_000, 1_000, 0), (3000, 400, 3), (10, 9**6, 2)]
)
def test_a_recording_keeps_no_text_of_what_it_leaves_out(
    number: int, characters: int, chunks: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A large window is in memory while it is searched, and not for as long as the key is good."""
    monkeypatch.setattr("rerank_proxy.search.recording.MAX_CHARACTERS", 2_000_000)
    recording = Recording()
    tracemalloc.start()
    try:
        window = [RankDoc("i", str(at), at, text=f"{at} ".ljust(characters)) for at in range(number)]
        reranked(recording, window, chunks)
        del window
        held = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert recording.cut
    assert held < recording.characters + 1000 * (MAX_DOCS + 200)


async def test_chunks_are_bounded_by_leaving_out_the_last_documents() -> None:
    recording = Recording()
    kept = reranked(recording, docs(300, 200), chunks=100)
    assert recording.cut
    assert len(kept.window) == MAX_CHUNKS // 100
    (search,) = json.loads(await written(recording))["searches"]
    (reranker,) = search["rerankers"]
    assert reranker["window"] == 300
    shown = reranker["docs"]
    assert [len(doc["chunks"]) for doc in shown] == [100] * 200
    assert [(doc["before"], doc["after"], doc["cached"]) for doc in shown[:2]] == [
        (1, 300, True),
        (2, 299, True),
    ]


def test_stages_are_bounded_and_none_comes_after_the_end() -> None:
    recording = Recording(lambda: 1.0)
    for at in range(MAX_STAGES):
        recording.stage("upstream", 1.0 + at, 2.0 + at, None)
    assert not recording.cut
    recording.end()
    recording.stage("queue", 1.0, 2.0, None)
    assert not recording.cut
    assert len(recording.in_order()) == MAX_STAGES
    other = Recording(lambda: 1.0)
    for _ in range(MAX_STAGES + 1):
        other.stage("score", 1.0, 2.0, None)
    assert other.cut


async def test_the_control_socket_alone_has_keys() -> None:
    all_ = Recordings()
    app = control_app(Engine({}, EngineSettings()), recordings=all_)
    async with TestClient(TestServer(app)) as client:
        key = (await (await client.post("/recordings")).json())["key"]
        assert (await client.get(f"/recordings/{key}")).status == 404, "nothing was recorded"
        key = (await (await client.post("/recordings")).json())["key"]
        assert all_.begin(key) is not None
        all_.end(key, answered=True)
        answer = await client.get(f"/recordings/{key}")
        assert (answer.status, (await answer.json())["searches"]) == (200, [])
        assert (await client.get(f"/recordings/{key}")).status == 404
