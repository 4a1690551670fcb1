"""Writes a recording as JSON, with what the models read of the texts."""

import asyncio
from collections.abc import Mapping, Sequence
from itertools import islice
from math import isfinite
from typing import Any, Final

import msgspec

from rerank_proxy.concurrency.offload import docs_size, offload
from rerank_proxy.engine import EngineError
from rerank_proxy.observe.recording import Around, Seen, Span
from rerank_proxy.search.ranks.ranking import RankDoc
from rerank_proxy.search.ranks.scores import normalize
from rerank_proxy.search.recording import MAX_SHOWN, RecordedReranker, RecordedSearch, Recording
from rerank_proxy.xcontent.java_numbers import print_float

_READ_S: Final = 5.0
"""Seconds for finding out what models read. What is not known by then is left unknown."""
_NOTHING: Final = Seen()


async def written(recording: Recording) -> bytes:
    """Return a recording as JSON, as `search.recording` describes it."""
    rerankers = [each for search in recording.searches.values() for each in search.rerankers]
    reads: dict[int, Mapping[str, Seen]] = {}
    try:
        async with asyncio.timeout(_READ_S):
            for each in rerankers:
                reads[id(each)] = await _read(each)
    except TimeoutError:
        pass
    size = sum(docs_size(each.window) for each in rerankers) + recording.characters
    return await offload(size, _printed, recording, reads)


async def _read(reranker: RecordedReranker) -> Mapping[str, Seen]:
    """Return what the model reads, by text or chunk; nothing where that is not known."""
    if reranker.read is None:
        return {}
    texts = list(dict.fromkeys(text for doc in reranker.scored for text in reranker.parts(doc)))
    try:
        return dict(zip(texts, await reranker.read(texts), strict=True))
    except EngineError:  # the model may have been unloaded, or have much to do
        return {}


def _printed(recording: Recording, reads: Mapping[int, Mapping[str, Seen]]) -> bytes:
    return msgspec.json.encode(
        {
            "took_ms": round(recording.took_ms, 3),
            "cut": recording.cut,
            "stages": recording.in_order(),
            "searches": [_search(each, reads) for _, each in sorted(recording.searches.items())],
        }
    )


def _search(search: RecordedSearch, reads: Mapping[int, Mapping[str, Seen]]) -> dict[str, Any]:
    rerankers = [_reranker(each, reads.get(id(each), {})) for each in search.rerankers]
    return {"item": search.item, "outcome": search.outcome, "rerankers": rerankers}


def _reranker(reranker: RecordedReranker, reads: Mapping[str, Seen]) -> dict[str, Any]:
    outcome, retriever = reranker.outcome, reranker.retriever
    found = (seen.around for seen in reads.values() if seen.around is not None)
    frames = {around: at for at, around in enumerate(dict.fromkeys(found))}
    return {
        "number": reranker.number,
        "outcome": reranker.word,
        "endpoint": retriever.inference_id,
        "model": reranker.model,
        "service": reranker.service,
        "field": retriever.field,
        "inference_text": retriever.inference_text[:MAX_SHOWN],
        "window": reranker.size,
        "rank_window_size": retriever.rank_window_size,
        "scored": None if outcome is None else outcome.scored,
        "cached": None if outcome is None else outcome.cached,
        "truncated": None if outcome is None else outcome.truncated,
        "ms": None if outcome is None else round(outcome.ms, 3),
        "reason": reranker.reason,
        "frames": [[each.before, each.after, each.apart] for each in frames],
        "docs": _docs(reranker, reads, frames),
    }


def _docs(
    reranker: RecordedReranker, reads: Mapping[str, Seen], frames: Mapping[Around, int]
) -> list[dict[str, Any]]:
    chunks = _chunks(reranker, reads)
    docs = []
    for before, doc in enumerate(reranker.window, 1):
        place, score = reranker.after.get((doc.index, doc.id), (None, None))
        docs.append(
            {
                "id": doc.id,
                "index": doc.index,
                "before": before,
                "first_score": _score(doc.first_score),
                "after": place,
                "score": _score(score),
                "dropped": place is None and doc.text is not None and reranker.outcome is not None,
                "text": None if doc.text is None else doc.text[:MAX_SHOWN],
                "characters": None if doc.text is None else len(doc.text),
                **_seen(reranker, doc, reads, frames),
                "chunks": chunks.get(before),
            }
        )
    return docs


def _seen(
    reranker: RecordedReranker, doc: RankDoc, reads: Mapping[str, Seen], frames: Mapping[Around, int]
) -> dict[str, Any]:
    """Return what the model read of a document's text, or of its chunks."""
    if doc.text is None or reranker.outcome is None:
        return {"cut_at": None, "tokens": None, "cached": None, "frame": None}
    seen = [reads.get(part, _NOTHING) for part in reranker.parts(doc)]
    tokens = [each.tokens for each in seen]
    around = next((each.around for each in seen if each.around is not None), None)
    return {
        "cut_at": _end(reranker.spans(doc), seen, len(doc.text)),
        "tokens": sum(each for each in tokens if each is not None) if None not in tokens else None,
        "cached": reranker.cached[reranker.place(doc)],
        "frame": None if around is None else frames[around],
    }


def _end(spans: Sequence[Span] | None, seen: Sequence[Seen], length: int) -> int | None:
    """Return behind which character nothing was read; None if that is not known, or if there is nothing."""
    if spans is None:
        return seen[0].cut_at
    ends = [
        end if part.cut_at is None else start + part.cut_at
        for (start, end), part in zip(spans, seen, strict=True)
    ]
    last = max(ends, default=0)
    return last if last < length else None


def _chunks(reranker: RecordedReranker, reads: Mapping[str, Seen]) -> dict[int, list[dict[str, Any]]]:
    """Return the chunks of each document by its place before, with their scores."""
    if reranker.chunks is None:
        return {}
    scores = iter(normalize(reranker.values).tolist())
    with_text = [(before, doc) for before, doc in enumerate(reranker.window, 1) if doc.text is not None]
    return {
        before: [
            _chunk(doc.text or "", span, score, reads)
            for span, score in zip(spans, islice(scores, len(spans)), strict=True)
        ]
        for (before, doc), spans in zip(with_text, reranker.chunks, strict=False)
    }


def _chunk(text: str, span: Span, score: float, reads: Mapping[str, Seen]) -> dict[str, Any]:
    start, end = span
    cut_at = reads.get(text[start:end], _NOTHING).cut_at
    return {
        "start": start,
        "end": end,
        "score": _score(score),
        "cut_at": None if cut_at is None else start + cut_at,
    }


def _score(score: float | None) -> msgspec.Raw | None:
    """Return a score as the answer prints it."""
    return None if score is None or not isfinite(score) else msgspec.Raw(print_float(score))
