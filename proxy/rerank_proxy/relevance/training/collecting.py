"""Ask a running proxy for what a model is trained on: the window of each query, texts, and endpoints' scores.

Everything is asked a few requests at a time. Scores of endpoints are kept in a journal, since they may cost
money and time: a run that was stopped asks for none of them again.
"""

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, TypeVar

from rerank_proxy.relevance.client.endpoints import scores_of
from rerank_proxy.relevance.client.searching import Found, RefusedError, Searcher
from rerank_proxy.relevance.errors import RelevanceError
from rerank_proxy.relevance.journal import Entry, Journal, key_of
from rerank_proxy.relevance.judgments import Judgments, Query, Ranked
from rerank_proxy.relevance.progress import Progress, steps
from rerank_proxy.relevance.templates import Template
from rerank_proxy.relevance.training.material import Material
from rerank_proxy.relevance.training.titles import WINDOW, queries_of, with_titles
from rerank_proxy.relevance.workers import work_on

MAX_TEXT: Final = 20_000
"""Characters of a text that are kept: more than small models read."""
_I = TypeVar("_I")
_T = TypeVar("_T")
_BATCH: Final = 50
_INPUTS: Final = 50
"""Texts of one call of an endpoint: below what vendors allow."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What is asked for.

    Attributes:
        field: What the model reads.
        first: The first stage.
        window: How many of its hits a reranker gets.
        base: The endpoint that is compared with; None if the model is run here.
        teacher: The endpoint whose scores are learned; None without one.
        title: The field with a document's title; None if titles are not learned from.
        titles: How many titles are learned from, at most.
        seed: Of what is drawn.
    """

    index: str
    field: str
    first: Template
    window: int
    base: str | None = None
    teacher: str | None = None
    title: str | None = None
    titles: int = 0
    seed: int = 0

    @property
    def fields(self) -> dict[str, Any]:
        """Return the members of a search that ask for texts and titles, and for nothing else."""
        return {"_source": False, "fields": [name for name in (self.field, self.title) if name]}


async def collect(
    searcher: Searcher,
    asked: Asked,
    queries: Mapping[str, Query],
    judgments: Judgments,
    journal: Path,
    progress: Progress,
) -> Material:
    """Ask for everything.

    Args:
        journal: The file in which scores of endpoints are kept.

    Raises:
        RelevanceError: The index or an endpoint does not answer, or no document has a text in the field.
    """
    first, texts, titles = await _windows("searching", searcher, asked, queries, progress)
    judged = {name for grades in judgments.values() for name, grade in grades.items() if grade > 0}
    texts.update(await _texts_of(searcher, asked, sorted(judged - texts.keys()), progress))
    if not texts:
        raise RelevanceError(
            f"index {asked.index}: not one of the documents found has a text in the field [{asked.field}]"
        )
    material = with_titles(
        Material(queries, judgments, first, texts, titles=titles), asked.titles, asked.seed
    )
    scores = {}
    with _journal(journal) as kept:
        for endpoint in sorted({asked.base, asked.teacher} - {None}, key=str):
            scores[endpoint] = await _scores(searcher, str(endpoint), material, kept, progress)
    return replace(material, base=scores.get(asked.base, {}), teacher=scores.get(asked.teacher, {}))


async def practise(
    searcher: Searcher, asked: Asked, material: Material, journal: Path, progress: Progress
) -> Material:
    """Ask for what is found for titles, and for a teacher's scores of it, and add that to the material.

    A title that the first stage refuses, since it cannot be parsed there, is left out.

    Raises:
        RelevanceError: The index or the teacher does not answer.
    """
    queries = queries_of(material)
    shorter = replace(asked, title=None, window=min(asked.window, WINDOW))
    first, texts, _ = await _windows(
        "searching for titles", searcher, shorter, queries, progress, lenient=True
    )
    found = {name: query for name, query in queries.items() if texts.keys() & {hit.id for hit in first[name]}}
    practice = Material(found, {}, first, texts)
    if asked.teacher is not None:
        with _journal(journal) as kept:
            scores = await _scores(searcher, asked.teacher, practice, kept, progress, of_what=" for titles")
        practice = replace(practice, teacher=scores)
    return replace(material, practice=practice)


def _journal(path: Path) -> Journal[list[float]]:
    return Journal(path, Entry[list[float]], f"{path}: another training is using it")


async def _windows(
    what: str,
    searcher: Searcher,
    asked: Asked,
    queries: Mapping[str, Query],
    progress: Progress,
    *,
    lenient: bool = False,
) -> tuple[dict[str, Ranked], dict[str, str], dict[str, str]]:
    """Search for each query, and return what is found, its texts, and its titles."""
    texts: dict[str, str] = {}
    titles: dict[str, str] = {}

    async def window(query: Query) -> Ranked:
        body = {**asked.first.fill(query.text), "size": asked.window, **asked.fields}
        try:
            found = await searcher.search(asked.index, body)
        except RefusedError as refused:
            if lenient and refused.status == 400:
                return []
            raise RelevanceError(f"the search for query {query.id}: {refused}") from None
        texts.update(_texts(found, asked.field))
        if asked.title is not None:
            titles.update(_texts(found, asked.title))
        return found.hits

    windows = await _each(what, queries.values(), window, searcher, progress)
    return dict(zip(queries, windows, strict=True)), texts, titles


async def _texts_of(
    searcher: Searcher, asked: Asked, ids: Sequence[str], progress: Progress
) -> dict[str, str]:
    async def batch(names: Sequence[str]) -> dict[str, str]:
        query = {"query": {"ids": {"values": names}}, "size": len(names), **asked.fields}
        return _texts(await searcher.search(asked.index, query), asked.field)

    parts = [ids[start : start + _BATCH] for start in range(0, len(ids), _BATCH)]
    found: dict[str, str] = {}
    for each in await _each("reading judged texts", parts, batch, searcher, progress):
        found.update(each)
    return found


async def _scores(
    searcher: Searcher,
    endpoint: str,
    material: Material,
    kept: Journal[list[float]],
    progress: Progress,
    of_what: str = "",
) -> dict[str, dict[str, float]]:
    """Have an endpoint score the window of each query, and its relevant documents outside of the window."""

    async def of(query: Query) -> dict[str, float]:
        window = material.window(query.id)
        names = list(dict.fromkeys([*window, *material.relevant(query.id)]))
        scores: dict[str, float] = {}
        for start in range(0, len(names), _INPUTS):
            part = names[start : start + _INPUTS]
            texts = [material.texts[name] for name in part]
            key = key_of(endpoint, query.text, texts)
            values = kept.get(key)
            if values is None:
                values = await _asked(searcher, endpoint, query.text, texts)
                kept.add(key, values, endpoint=endpoint, query=query.id)
            scores.update(zip(part, values, strict=True))
        return scores

    scored = await _each(f"scores of {endpoint}{of_what}", material.queries.values(), of, searcher, progress)
    return dict(zip(material.queries, scored, strict=True))


async def _asked(searcher: Searcher, endpoint: str, query: str, texts: Sequence[str]) -> list[float]:
    try:
        return await scores_of(searcher, endpoint, query, texts)
    except RefusedError as refused:
        raise RelevanceError(f"endpoint {endpoint}: {refused}") from None


async def _each(
    what: str,
    items: Iterable[_I],
    call: Callable[[_I], Awaitable[_T]],
    searcher: Searcher,
    progress: Progress,
) -> list[_T]:
    """Await a call for each item, as many at a time as the searcher sends; the first that fails ends all."""
    places = list(enumerate(items))
    found: dict[int, _T] = {}

    async def one(each: tuple[int, _I]) -> None:
        place, item = each
        found[place] = await call(item)
        step()

    step = steps(progress, what, len(places))
    await work_on(places, one, searcher.concurrency)
    return [found[place] for place, _ in places]


def _texts(found: Found, field: str) -> dict[str, str]:
    """Return what a reranker would read of each hit: the first value of the field."""
    texts = {}
    for name, values in found.fields.items():
        first = next(iter(values.get(field, ())), None)
        if isinstance(first, str) and first.strip():
            texts[name] = first[:MAX_TEXT]
    return texts
