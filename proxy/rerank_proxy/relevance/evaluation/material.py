"""Queries and judgments of an evaluation, from the files that a command line names."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import cycle, islice
from pathlib import Path

from rerank_proxy.relevance.clicks import Clicked, ClickModel, judgments_of
from rerank_proxy.relevance.errors import RelevanceError
from rerank_proxy.relevance.formats.reading import read_clicks, read_judgments, read_queries
from rerank_proxy.relevance.judging.provenance import models_of
from rerank_proxy.relevance.judgments import Paired, Query, count_of, paired


@dataclass(frozen=True, slots=True)
class Material:
    """Queries and judgments, and where they are from.

    Attributes:
        clicks: What the judgments were made of, if they are made of clicks, and how.
        judges: Endpoints and models that have made judgments.
    """

    paired: Paired
    sources: Sequence[str]
    clicks: tuple[Clicked, ClickModel] | None = None
    judges: Sequence[str] = ()

    @property
    def judged(self) -> int:
        """The number of judgments of the queries that are asked."""
        return count_of(self.paired.judgments)


def material_of(
    queries: Path | None,
    judgments: Path | None,
    clicks: Path | None,
    model: ClickModel,
    limit: int | None = None,
) -> Material:
    """Read queries and judgments.

    Args:
        queries: May be the file of the judgments, whose lines hold both.
        limit: Take so many queries alone, spread over all.

    Raises:
        RelevanceError: A file cannot be read, or no query has a judgment.
    """
    if (clicks is None) == (judgments is None):
        raise RelevanceError("give either --judgments or --clicks")
    made = None
    if clicks is not None:
        clicked = judgments_of(read_clicks(clicks), model)
        made = (clicked, model)
        pair = paired(clicked.queries, clicked.judgments)
        sources = [str(clicks)]
    else:
        assert judgments is not None
        sources = list(dict.fromkeys(str(each) for each in (queries or judgments, judgments)))
        asked = read_queries(queries or judgments)
        pair = paired(asked, read_judgments(judgments, asked))
    if not pair.queries:
        raise RelevanceError(
            f"no query of {sources[0]} has a document graded above 0 in {sources[-1]}: {len(pair.unjudged)} "
            f"queries have no judgments, {len(pair.without_query)} judgments have no query"
        )
    judges = [] if judgments is None else models_of(judgments)
    return Material(_limited(pair, limit), sources, made, judges)


def spread(queries: Sequence[Query], number: int) -> list[Query]:
    """Return so many queries, spread over all; the same again if there are too few."""
    step = max(1, len(queries) // max(1, number))
    order = [query for start in range(step) for query in queries[start::step]]
    return list(islice(cycle(order), number))


def _limited(pair: Paired, limit: int | None) -> Paired:
    if limit is None or limit >= len(pair.queries):
        return pair
    kept = spread(list(pair.queries.values()), limit)
    names = {query.id for query in kept}
    return Paired(
        {name: query for name, query in pair.queries.items() if name in names},
        {name: grades for name, grades in pair.judgments.items() if name in names},
        pair.unjudged,
        pair.without_query,
        pair.without_relevant,
    )
