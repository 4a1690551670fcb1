"""The recording of one request: what was done when, and what each reranker made of its window.

A recording changes nothing of a search, and costs it next to nothing: while that runs, references to its
documents are kept. What the model read of each text is found out when the recording is asked for.

    {"took_ms": 41.2, "cut": false,
     "stages": [{"stage", "label", "start_ms", "end_ms", "search", "reranker"}],
     "searches": [{"item", "outcome", "rerankers": [
        {"number", "outcome", "endpoint", "model", "service", "field", "inference_text", "window",
         "rank_window_size", "scored", "cached", "truncated", "ms", "reason",
         "frames": [[before, after, apart]],
         "docs": [{"id", "index", "before", "first_score", "after", "score", "dropped", "text", "characters",
                   "cut_at", "tokens", "cached", "frame",
                   "chunks": [{"start", "end", "score", "cut_at"}]}]}]}]}

Rerankers have numbers in the order in which they began; a stage says to which one it belongs. A document has
the number of its frame, which says what the model read around the text, and of the query apart from it; that
of a document with chunks is around the first.

What is not known is null. `cut` says that something was left out for its size. Characters are code points.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import takewhile
from typing import Any, Final

from rerank_proxy.observe import stages
from rerank_proxy.observe.outcome import Applied, Outcome
from rerank_proxy.observe.recording import Read, Span
from rerank_proxy.observe.stages import Stage
from rerank_proxy.search.ranks.ranking import RankDoc
from rerank_proxy.search.retrievers.ports import Reranking

FINAL_SEARCH: Final = "final search"
"""The label of the search over the ranked documents."""
_INNER_SEARCH: Final = "inner search"

MAX_STAGES: Final = 1000
MAX_SEARCHES: Final = 100
MAX_RERANKERS: Final = 200
MAX_DOCS: Final = 2000
"""Of all rerankers together."""
MAX_CHARACTERS: Final = 16_000_000
"""Of the texts that are kept until the recording is asked for."""
MAX_CHUNKS: Final = 20_000
"""Of all documents together."""
MAX_SHOWN: Final = 8000
"""Characters of one text that are shown."""


class Recording:
    """Records one request. It is a `stages.Recorder`, of what belongs to none of its searches.

    Args:
        clock: That of `stages`, in seconds.

    Attributes:
        cut: Something was left out for its size.
        characters: Those of the texts that are kept.
    """

    def __init__(self, clock: Callable[[], float] = stages.clock) -> None:
        self._clock = clock
        self._began = clock()
        self._ended: float | None = None
        self._stages: list[dict[str, Any]] = []
        self._docs = self._rerankers = self._chunks = 0
        self.searches: dict[int, RecordedSearch] = {}
        self.cut = False
        self.characters = 0

    def end(self) -> None:
        """Take note that the request is answered."""
        self._ended = self._clock()

    @property
    def has_ended(self) -> bool:
        return self._ended is not None

    def stage(self, stage: Stage, began: float, ended: float, label: str | None) -> None:
        self.add(stage, began, ended, label or stage, None)

    def add(
        self,
        stage: Stage,
        began: float,
        ended: float,
        label: str,
        search: int | None,
        reranker: int | None = None,
    ) -> None:
        """Add a stage.

        Args:
            search: The item of the search that it belongs to.
            reranker: The number of the reranker that it belongs to.
        """
        if self._ended is not None or len(self._stages) >= MAX_STAGES:
            self.cut = self.cut or self._ended is None
            return
        start_ms, end_ms = ((at - self._began) * 1000 for at in (began, ended))
        self._stages.append(
            {
                "stage": stage,
                "label": label,
                "start_ms": round(max(start_ms, 0.0), 3),
                "end_ms": round(end_ms, 3),
                "search": search,
                "reranker": reranker,
            }
        )

    def chunked(self, spans: Sequence[Sequence[Span]], values: Sequence[float]) -> None:
        """Do nothing: no search is under way."""

    def looked_up(self, texts: Sequence[str], known: Sequence[bool]) -> None:
        """Do nothing."""

    def read_by(self, read: Read) -> None:
        """Do nothing."""

    def search(self, item: int) -> "RecordedSearch | None":
        """Return the recording of a search that begins now; None if there are too many."""
        if len(self.searches) >= MAX_SEARCHES:
            self.cut = True
            return None
        search = self.searches[item] = RecordedSearch(self, item)
        return search

    def kept(self, window: Sequence[RankDoc]) -> Sequence[RankDoc]:
        """Return the documents of a window that are kept, without texts where these would be too many."""
        some = window[: MAX_DOCS - self._docs]
        self._docs += len(some)
        size = sum(len(doc.text or "") for doc in some)
        if self.characters + size > MAX_CHARACTERS:
            self.cut = True
            return ()
        self.characters += size
        self.cut = self.cut or len(some) < len(window)
        return some

    def kept_chunks(self, spans: Sequence[Sequence[Span]]) -> Sequence[Sequence[Span]]:
        """Return the chunks that are kept, of documents in their order."""
        for at, each in enumerate(spans):
            if self._chunks + len(each) > MAX_CHUNKS:
                self.cut = True
                return spans[:at]
            self._chunks += len(each)
        return spans

    def add_reranker(self) -> bool:
        """Count one more reranker; return whether there are not too many."""
        self._rerankers += 1
        self.cut = self.cut or self._rerankers > MAX_RERANKERS
        return self._rerankers <= MAX_RERANKERS

    @property
    def took_ms(self) -> float:
        return ((self._clock() if self._ended is None else self._ended) - self._began) * 1000

    def in_order(self) -> list[dict[str, Any]]:
        """Return the stages in the order in which they began, with inner searches by their numbers in it."""
        stages = sorted(self._stages, key=lambda stage: (stage["start_ms"], stage["end_ms"]))
        numbers: Counter[int | None] = Counter()
        numbered = []
        for stage in stages:
            if stage["label"] == _INNER_SEARCH:
                numbers[stage["search"]] += 1
                stage = {**stage, "label": f"{_INNER_SEARCH} {numbers[stage['search']]}"}
            numbered.append(stage)
        return numbered


class RecordedSearch:
    """Records one search of a request. It is a `stages.Recorder` of what belongs to none of its rerankers."""

    def __init__(self, recording: Recording, item: int) -> None:
        self.recording = recording
        self.item = item
        self.outcome: str | None = None
        self.rerankers: list[RecordedReranker] = []
        self._begun = 0

    def stage(self, stage: Stage, began: float, ended: float, label: str | None) -> None:
        self.add_stage(stage, began, ended, label, None)

    def add_stage(
        self, stage: Stage, began: float, ended: float, label: str | None, reranker: int | None
    ) -> None:
        """Add a stage, which may belong to a reranker."""
        self.recording.add(stage, began, ended, self._worded(stage, label), self.item, reranker)

    @staticmethod
    def _worded(stage: Stage, label: str | None) -> str:
        """Say what a stage did: in words, where it is named by the target of a request upstream."""
        if label is None or not label.startswith("/"):
            return label or stage
        path = label.partition("?")[0]
        api = path.rpartition("/")[2]
        if api == "_search":
            return _INNER_SEARCH
        if path.startswith("/_inference/"):
            return "inference by Elasticsearch" if stage == "score" else "find the endpoint in Elasticsearch"
        return {"_pit": "open a point in time", "_mapping": "read mappings"}.get(api, api)

    def chunked(self, spans: Sequence[Sequence[Span]], values: Sequence[float]) -> None:
        """Do nothing: no reranker is at work."""

    def looked_up(self, texts: Sequence[str], known: Sequence[bool]) -> None:
        """Do nothing."""

    def read_by(self, read: Read) -> None:
        """Do nothing."""

    def begin_again(self) -> None:
        """Forget the rerankers: the search is evaluated in another way."""
        self.rerankers.clear()

    def ended(self, outcome: Outcome) -> None:
        self.outcome = outcome.word

    def reranker(self, retriever: Reranking, window: Sequence[RankDoc]) -> "RecordedReranker":
        """Return the recording of a rank phase that begins now."""
        self._begun += 1
        return RecordedReranker(self, self._begun, retriever, window)

    def passed_over(self, retriever: Reranking, outcome: Applied) -> None:
        """Record a reranker that had nothing to rank."""
        self.reranker(retriever, ()).applied(outcome, ())

    def add(self, reranker: "RecordedReranker") -> None:
        """Add a reranker that has finished."""
        if self.recording.add_reranker():
            self.rerankers.append(reranker)


class RecordedReranker:
    """Records one rank phase. It is a `stages.Recorder` of what is done for it.

    While that runs, it may refer to all texts of the search. Afterwards it has those that are kept alone.

    Attributes:
        number: Which one of its search it is, in the order in which they begin.
        window: The documents that are kept, in the order before.
        after: The place from 1, and the score, of those that stayed, by index and id.
        chunks: The chunks of each text that is kept, in the order of texts; None: none was cut.
        values: The raw scores of all chunks.
        cached: Whether all outputs were in a cache, of each text that is kept; None where that is not known.
        read: Finds out what the model reads; None where nothing can.
    """

    def __init__(
        self, search: RecordedSearch, number: int, retriever: Reranking, window: Sequence[RankDoc]
    ) -> None:
        self._search = search
        self.number = number
        self.retriever = retriever
        self.size = len(window)
        self.window = search.recording.kept(window)
        self._places = {id(doc): at for at, doc in enumerate(self.scored)}
        self.after: dict[tuple[str, str], tuple[int, float]] = {}
        self.outcome: Applied | None = None
        self.word = "failed"
        self.model: str | None = None
        self.service: str | None = None
        self.reason: str | None = None
        self.chunks: Sequence[Sequence[Span]] | None = None
        self.values: Sequence[float] = ()
        self.cached: Sequence[bool | None] = ()
        self._known: dict[str, bool] = {}
        self.read: Read | None = None

    def stage(self, stage: Stage, began: float, ended: float, label: str | None) -> None:
        self._search.add_stage(stage, began, ended, label, self.number)

    def chunked(self, spans: Sequence[Sequence[Span]], values: Sequence[float]) -> None:
        if self.chunks is not None:  # those were chunks of these, so that what was read of these is not known
            self.read = None
        texts = self.scored
        kept = self._search.recording.kept_chunks(spans[: len(texts)])
        if len(kept) < len(texts):
            first_left_out = texts[len(kept)]
            self.window = [*takewhile(lambda doc: doc is not first_left_out, self.window)]
        self.chunks, self.values = kept, values[: sum(map(len, kept))]

    def looked_up(self, texts: Sequence[str], known: Sequence[bool]) -> None:
        self._known.update(zip(texts, known, strict=True))

    def read_by(self, read: Read) -> None:
        self.read = read

    @property
    def scored(self) -> list[RankDoc]:
        """The documents that are kept and have a text."""
        return [doc for doc in self.window if doc.text is not None]

    def place(self, doc: RankDoc) -> int:
        """Return which of those a document is, from 0."""
        return self._places[id(doc)]

    def spans(self, doc: RankDoc) -> Sequence[Span] | None:
        """Return the chunks of a document that has a text; None if it was scored as a whole."""
        return None if self.chunks is None else self.chunks[self.place(doc)]

    def parts(self, doc: RankDoc) -> list[str]:
        """Return the texts that were scored for a document that has one: its own, or its chunks."""
        text, spans = doc.text or "", self.spans(doc)
        return [text] if spans is None else [text[start:end] for start, end in spans]

    def found(self, model: str, service: str) -> None:
        """Record what the endpoint is."""
        self.model, self.service = model, service

    def applied(self, outcome: Applied, ranked: Sequence[RankDoc]) -> None:
        """Record the order that a window was brought into, without what `min_score` drops."""
        self.word, self.outcome = outcome.word, outcome
        self.cached = [self._is_cached(doc) for doc in self.scored]
        self._end(ranked)

    def failed(self, reason: str, ranked: Sequence[RankDoc] | None) -> None:
        """Record that there are no scores.

        Args:
            ranked: The order in which the search goes on; None, it fails.
        """
        self.reason = reason
        if ranked is not None:
            self.word = "skipped"
        self._end(ranked or ())

    def _is_cached(self, doc: RankDoc) -> bool | None:
        known = [self._known.get(part) for part in self.parts(doc)]
        return None if None in known else bool(known) and all(known)

    def _end(self, ranked: Sequence[RankDoc]) -> None:
        """Let go of all texts that are not kept, and add this to its search."""
        self._known.clear()
        kept = {(doc.index, doc.id) for doc in self.window}
        for place, doc in enumerate(ranked, 1):
            if (doc.index, doc.id) in kept:
                self.after[doc.index, doc.id] = place, doc.score
        self._search.add(self)


def recorded_search(item: int = 0) -> RecordedSearch | None:
    """Return the recording of the search that this task makes, which begins now if none does already.

    Args:
        item: Its number within the request.
    """
    activity = stages.current()
    recorder = activity.recorder
    if not isinstance(recorder, Recording):
        return recorder if isinstance(recorder, RecordedSearch) else None
    search = recorder.search(item)
    if search is not None:
        stages.enter(replace(activity, recorder=search))
    return search
