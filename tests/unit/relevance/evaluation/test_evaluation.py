"""An evaluation: what it asks, what it keeps, and what it makes of failures."""

import asyncio
import itertools
import json
import resource
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from rerank_proxy.relevance.clicks import ClickModel
from rerank_proxy.relevance.client import searching
from rerank_proxy.relevance.client.searching import RefusedError, Searcher, UnreachableError
from rerank_proxy.relevance.errors import RelevanceError
from rerank_proxy.relevance.evaluation.answers import FILE
from rerank_proxy.relevance.evaluation.asking import IN_A_ROW
from rerank_proxy.relevance.evaluation.material import material_of
from rerank_proxy.relevance.evaluation.running import Evaluation, Plan, evaluate
from rerank_proxy.relevance.report.document import document_of
from rerank_proxy.relevance.report.words import notes_of
from rerank_proxy.relevance.systems import Wanted, systems_of
from tests.support.judged_index import JudgedIndex, judged_index, refused
from tests.support.quiet import quiet
from tests.support.raw_http import Wire, raw_server

QUERIES = [
    f"a {word} film" for word in ("murderer", "boxer", "dog", "heist", "detective", "people", "way", "two")
]
SKIPPED = "skipped; endpoint=e; reason=status_exception"


def is_reranked(body: dict[str, Any]) -> bool:
    return "text_similarity_reranker" in body["retriever"]


@pytest.fixture
async def index() -> AsyncIterator[JudgedIndex]:
    async with judged_index() as served:
        yield served


@dataclass
class Laboratory:
    """An evaluation of bm25 and one endpoint, in a directory."""

    directory: Path
    index: JudgedIndex

    async def run(
        self, *, queries: Sequence[str] = QUERIES, windows: tuple[int, ...] = (5,), **changes: Any
    ) -> Evaluation:
        lines = [json.dumps({"query": query, "grades": {"0": 2, "3": 1, "absent": 1}}) for query in queries]
        file = self.directory / "judgments.jsonl"
        file.write_text("\n".join(lines))
        material = material_of(None, file, None, ClickModel())
        values = {
            "systems": systems_of(Wanted(["bm25:plot"], ["e"], "plot", windows)),
            "baseline": "bm25",
            "timed": 0,
            "cold": False,
            "fresh": False,
            "seed": 1,
            **changes,
        }
        plan = Plan(index="films", measures=["nDCG@10"], directory=self.directory / "out", **values)
        searcher = Searcher(self.index.url, concurrency=1, patience_s=30)
        return await evaluate(plan, material, searcher, quiet)


@pytest.fixture
def laboratory(tmp_path: Path, index: JudgedIndex) -> Laboratory:
    return Laboratory(tmp_path, index)


def figures(evaluation: Evaluation) -> Any:
    """Return what a report says of the results, without times."""
    document = document_of(evaluation)
    return [
        (each["name"], each["means"], each["values"], each["comparisons"], each["failures"])
        for each in document["systems"]
    ]


async def test_every_system_is_asked_every_query_and_compared(laboratory: Laboratory) -> None:
    evaluation = await laboratory.run()
    assert sorted(laboratory.index.searches) == sorted(
        (query, kind) for query in QUERIES for kind in (False, True)
    )
    _, reranked = evaluation.results.all
    assert reranked.models == ["m"]
    assert reranked.comparisons["nDCG@10"].queries == len(QUERIES)
    assert evaluation.missing == ["absent"]
    assert "1 judged document not in the index" in " ".join(notes_of(evaluation))


@pytest.mark.parametrize("stops_after", [1, 7, 15])
async def test_one_that_was_stopped_goes_on_and_gives_the_same(
    laboratory: Laboratory, stops_after: int
) -> None:
    """It is cancelled within a search; in the end no search was asked twice but that one."""
    task: asyncio.Task[Evaluation]

    def stop(number: int) -> None:
        if number == stops_after:
            task.cancel()

    laboratory.index.before_each = stop
    task = asyncio.ensure_future(laboratory.run())
    with pytest.raises(asyncio.CancelledError):
        await task
    laboratory.index.before_each = lambda _: None
    with (laboratory.directory / "out" / FILE).open("ab") as file:
        file.write(b'{"key": "half a li')
    resumed = await laboratory.run()
    assert len(laboratory.index.searches) == 2 * len(QUERIES) + 1
    assert sum(each.asked.kept for each in resumed.results.all) == stops_after
    assert figures(resumed) == figures(await laboratory.run(fresh=True))


async def test_what_is_asked_otherwise_is_asked_anew(laboratory: Laboratory) -> None:
    """Another window is another body, and another number of documents another index."""
    await laboratory.run()
    number = len(laboratory.index.searches)
    await laboratory.run()
    assert len(laboratory.index.searches) == number
    await laboratory.run(windows=(4,))
    assert len(laboratory.index.searches) == number + len(QUERIES)
    laboratory.index.documents += 1
    await laboratory.run()
    assert len(laboratory.index.searches) == 2 * number + len(QUERIES)


@pytest.mark.parametrize(
    ("answer", "kind"),
    [(refused(500, "broken"), "refused"), (None, "skipped")],
)
async def test_what_failed_is_not_0_and_is_tried_again(
    laboratory: Laboratory, answer: web.Response | None, kind: str
) -> None:
    """Nor does what was answered in first-stage order count as reranked."""

    def fail(index: JudgedIndex, query: str, body: dict[str, Any]) -> web.Response | None:
        if query != QUERIES[0] or "text_similarity_reranker" not in body["retriever"]:
            return None
        return (
            index.found(["0"], reranked=True, header=SKIPPED) if kind == "skipped" else refused(500, "broken")
        )

    whole = await laboratory.run()
    laboratory.index.answer = fail
    few = await laboratory.run(fresh=True)
    assert not few.results.all[1].has_figures  # 7 of 8 are fewer than nine tenths
    many = [*QUERIES, *(f"{query} again" for query in QUERIES)]
    evaluation = await laboratory.run(queries=many)
    reranked = evaluation.results.all[1]
    assert [each.kind for each in reranked.asked.failures] == [kind]
    assert len(evaluation.results.queries) == len(many) - 1
    assert "1" not in reranked.values["nDCG@10"]
    assert "never counts as 0" in " ".join(notes_of(evaluation))
    laboratory.index.answer = lambda *_: None
    mended = await laboratory.run()
    assert figures(mended) == figures(whole)


async def test_a_system_that_only_fails_is_given_up_and_the_others_are_shown(laboratory: Laboratory) -> None:
    laboratory.index.answer = lambda _, query, body: (
        refused(400, "no such endpoint") if is_reranked(body) else None
    )
    evaluation = await laboratory.run()
    plain, reranked = evaluation.results.all
    assert sum(kind for _, kind in laboratory.index.searches) == IN_A_ROW
    assert reranked.asked.given_up
    assert not reranked.has_figures
    assert plain.has_figures
    assert len(evaluation.results.queries) == len(QUERIES)
    assert "400: no such endpoint" in " ".join(notes_of(evaluation))
    laboratory.index.answer = lambda *_: refused(404, "no such index")
    with pytest.raises(RelevanceError, match="no search of any system was answered: bm25: refused, 404"):
        await laboratory.run(fresh=True)


async def test_documents_of_one_id_in_several_indices_are_refused_before_anything_is_asked(
    laboratory: Laboratory,
) -> None:
    """Where only one of them is found, its grade would be the other's."""
    laboratory.index.indices = ("films-1", "films-2")
    with pytest.raises(RelevanceError, match="document 0 is in films-1 and in films-2"):
        await laboratory.run()
    assert not laboratory.index.searches


async def test_who_may_search_and_nothing_else_can_evaluate(laboratory: Laboratory) -> None:
    """Without the privilege `monitor` the version of the server is unknown, and nothing besides."""
    laboratory.index.may_monitor = False
    evaluation = await laboratory.run()
    assert evaluation.state.elasticsearch == "unknown"
    assert all(each.has_figures for each in evaluation.results.all)


async def test_a_body_that_asks_for_fewer_hits_than_are_measured_is_told(
    laboratory: Laboratory, tmp_path: Path
) -> None:
    file = tmp_path / "five.json"
    body = {"retriever": {"standard": {"query": {"match": {"plot": "{{query}}"}}}}, "size": 5}
    file.write_text(json.dumps(body))
    evaluation = await laboratory.run(systems=systems_of(Wanted([str(file)])), baseline="five")
    assert (
        "look at up to 10 hits, and some systems answer with fewer, by their size or window: five (5)."
        in " ".join(notes_of(evaluation))
    )


async def test_a_busy_server_is_waited_for(laboratory: Laboratory) -> None:
    states = iter([429, 503])

    def busy(*_: Any) -> web.Response | None:
        status = next(states, None)
        return None if status is None else refused(status, "busy", **{"Retry-After": "0"})

    laboratory.index.answer = busy
    evaluation = await laboratory.run()
    assert not any(each.asked.failures for each in evaluation.results.all)
    assert len(laboratory.index.searches) == 2 * len(QUERIES) + 2


async def test_times_are_of_searches_by_themselves_without_known_scores(laboratory: Laboratory) -> None:
    texts: list[str] = []

    def note(_: JudgedIndex, query: str, body: dict[str, Any]) -> None:
        reranker = body["retriever"].get("text_similarity_reranker")
        if reranker is not None and reranker["inference_text"] != query:
            texts.append(reranker["inference_text"])

    laboratory.index.answer = note
    evaluation = await laboratory.run(timed=3)
    assert len(texts) == len({*texts}) == 3 + 2
    for each in evaluation.results.all:
        assert each.latency is not None
        assert each.latency.alone
        assert each.latency.client.count == 3
    number = len(laboratory.index.searches)
    again = await laboratory.run(timed=3)
    assert len(laboratory.index.searches) == number
    assert again.results.all[1].latency == evaluation.results.all[1].latency


async def test_times_with_scores_from_the_cache_can_be_left_out(laboratory: Laboratory) -> None:
    cached = "applied; endpoint=e; model=m; window=5; scored=5; cached=5; truncated=0; ms=0.1"
    laboratory.index.answer = lambda index, _, body: (
        index.found(["0"], reranked=True, header=cached)
        if "text_similarity_reranker" in body["retriever"]
        else None
    )
    warm = await laboratory.run(timed=2)
    assert warm.results.all[1].latency is not None
    assert warm.results.all[1].latency.from_cache == 2
    assert "from the proxy's cache" in " ".join(notes_of(warm))
    cold = await laboratory.run(timed=2, cold=True)
    assert cold.results.all[0].latency is not None
    assert cold.results.all[1].latency is None


async def test_two_evaluations_in_one_directory(laboratory: Laboratory) -> None:
    def run_another(number: int) -> None:
        if number == 0:
            others.append(asyncio.ensure_future(laboratory.run()))

    others: list[asyncio.Task[Evaluation]] = []
    laboratory.index.before_each = run_another
    await laboratory.run()
    with pytest.raises(RelevanceError, match="another evaluation is using it"):
        await others[0]


async def test_a_full_disk_is_said_and_what_was_answered_is_kept(laboratory: Laboratory) -> None:
    """No file can be larger than some of the answers: that limit is the process's own."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2000, limits[1]))
    try:
        with pytest.raises(RelevanceError, match=r"answers\.jsonl: cannot be written: File too large"):
            await laboratory.run()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    resumed = await laboratory.run()
    assert 2 < sum(each.asked.kept for each in resumed.results.all) < 2 * len(QUERIES)


async def test_a_journal_that_is_not_one(laboratory: Laboratory) -> None:
    await laboratory.run()
    file = laboratory.directory / "out" / FILE
    lines = file.read_bytes().split(b"\n")
    for damaged in (b"{}", b"[" * 100_000, lines[1].replace(b'"hits":[[', b'"hits":[[[')):
        file.write_bytes(b"\n".join([*lines[:2], damaged, *lines[2:]]))
        with pytest.raises(RelevanceError, match=r"line 3: .*; remove the line, or give --fresh"):
            await laboratory.run()
    file.write_bytes(b"{}\n")
    with pytest.raises(RelevanceError, match=r"line 1: .*, or give --fresh"):
        await laboratory.run()
    await laboratory.run(fresh=True)


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        (
            {"_shards": {"failed": 1, "failures": [{"reason": {"reason": "no"}}]}, "hits": {"hits": []}},
            "1 shards failed",
        ),
        ({"timed_out": True, "hits": {"hits": []}}, "the search timed out"),
        ({"terminated_early": True, "hits": {"hits": []}}, "the search ended early"),
        (
            {"_clusters": {"total": 2, "skipped": 1}, "hits": {"hits": []}},
            "1 remote clusters have not answered",
        ),
        ({"hits": {"hits": [{"_id": "1", "_score": 1}] * 2}}, "two hits have the same id"),
        ({"hits": {}}, "the answer is not that of a search"),
        ({"hits": {"hits": [{"_id": "1", "_score": "NaN"}]}}, "the answer is not that of a search"),
        ({"hits": {"hits": [{"_id": ["1"], "_score": 1}]}}, "the answer is not that of a search"),
        (
            {"hits": {"hits": [{"_id": "1", "fields": {"plot": "text"}}]}},
            "the answer is not that of a search",
        ),
        ({"hits": {"hits": [{"_id": "1", "_score": -1e308}]}}, "the answer is not that of a search"),
        ({"_shards": {"failed": 1}, "hits": {"hits": []}}, "1 shards failed: no reason is given"),
        ([], "the answer is not that of a search"),
    ],
)
async def test_answers_without_hits(index: JudgedIndex, answer: Any, problem: str) -> None:
    index.answer = lambda *_: web.json_response(answer)
    body = {"retriever": {"standard": {"query": {"match": {"plot": "x"}}}}, "size": 10}
    async with Searcher(index.url) as searcher:
        with pytest.raises(RefusedError, match=problem):
            await searcher.search("films", body)


async def test_a_server_that_is_restarted_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """It was there when the command began, perhaps an hour ago."""
    monkeypatch.setattr(searching, "_wait_s", lambda attempts, asked_s: 0.01)
    found = b'{"hits": {"hits": []}}'
    head = b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: %d\r\n\r\n" % len(found)
    gone = {2, 3}
    number = itertools.count(1)

    async def serve(wire: Wire) -> None:
        await wire.read_message()
        if next(number) not in gone:
            await wire.send(head + found)

    async with raw_server(serve) as server, Searcher(server.url, patience_s=60) as searcher:
        attempts = [(await searcher.search("films", {})).attempts for _ in range(3)]
        assert attempts == [1, 3, 1]
    async with raw_server(serve) as server, Searcher(server.url, patience_s=0.1) as searcher:
        await searcher.search("films", {})
        gone.update(range(5, 10_000))
        with pytest.raises(UnreachableError, match="cannot be reached"):
            await searcher.search("films", {})


async def test_nothing_that_answers(tmp_path: Path) -> None:
    async with Searcher("http://127.0.0.1:1") as searcher:
        with pytest.raises(UnreachableError, match=r"http://127\.0\.0\.1:1 cannot be reached: "):
            await searcher.search("films", {})


async def test_judgments_made_of_clicks_say_how(laboratory: Laboratory) -> None:
    clicks = [f"{query}\t{at % 5}\t{1 + at % 3}" for at, query in enumerate(QUERIES)]
    file = laboratory.directory / "clicks.tsv"
    file.write_text("\n".join(["query\tdocument\tposition", *clicks]))
    material = material_of(None, None, file, ClickModel(eta=0.5))
    systems = systems_of(Wanted(["bm25:plot"], ["e"], "plot"))
    plan = Plan(
        "films",
        systems,
        ["nDCG@10"],
        "bm25",
        laboratory.directory / "out",
        0,
        cold=False,
        fresh=False,
        seed=1,
    )
    made = await evaluate(plan, material, Searcher(laboratory.index.url), quiet)
    notes = " ".join(notes_of(made))
    assert "The judgments were made of 8 clicks. Each counts position^0.5 (at most 10)" in notes
    assert "Clicks cannot tell whether a document that was never shown is good" in notes
    assert document_of(made)["queries"]["clicks"]["eta"] == 0.5
