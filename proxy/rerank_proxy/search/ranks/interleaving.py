"""Two orders of a window in one list, with scores that fall from place to place."""

from collections.abc import Sequence

import numpy as np

from rerank_proxy.online.team_draft import Team, draft
from rerank_proxy.search.ranks.ranking import RankDoc
from rerank_proxy.search.ranks.scores import MIN_VALUE

Key = tuple[str, str]


def interleaved(
    own: Sequence[RankDoc], other: Sequence[RankDoc], coins: int
) -> tuple[list[RankDoc], dict[Key, Team]]:
    """Return the documents of two orders, each once, and the team of each that is in one.

    Args:
        own: The reranker's order, with its scores.
        other: The order that it is compared with.
        coins: As `draft` takes them.
    """
    docs = {_key(doc): doc for doc in (*other, *own)}
    taken = draft([_key(doc) for doc in own], [_key(doc) for doc in other], coins)
    scores = falling([doc.score for doc in own], len(taken))
    ranked = [docs[key].scored(score) for (key, _), score in zip(taken, scores, strict=True)]
    return ranked, {key: team for key, team in taken if team is not None}


def falling(scores: Sequence[float], count: int) -> list[float]:
    """Return `count` different positive float32 scores, the highest first: those given as far as they go.

    A score takes the place of an equal or missing one that is the next lower float, but never so low that
    there is none for those after it. So whatever sorts by score, be it Elasticsearch, keeps their order.

    Args:
        scores: In any order; from 0 on.
    """
    given = np.sort(np.asarray(scores, dtype=np.float32))[::-1][:count]
    found: list[float] = []
    for place in range(count):
        least = np.float32(MIN_VALUE * (count - place))
        score = given[place] if place < len(given) else np.float32(np.inf)
        if found:
            score = min(score, np.nextafter(np.float32(found[-1]), np.float32(0)))
        elif not np.isfinite(score):
            score = np.float32(1)
        found.append(float(max(score, least)))
    return found


def _key(doc: RankDoc) -> Key:
    return doc.index, doc.id
