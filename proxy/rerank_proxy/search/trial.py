"""The part that one search takes in a comparison, and what is found out by it."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from rerank_proxy.online.draws import Mode
from rerank_proxy.online.memory import Shown
from rerank_proxy.online.team_draft import Team
from rerank_proxy.search.ranks.interleaving import Key, interleaved
from rerank_proxy.search.ranks.ranking import RankDoc
from rerank_proxy.search.retrievers.text_similarity_reranker import TextSimilarityReranker


@dataclass(slots=True)
class Trial:
    """The part that a search takes.

    Of several rerankers, the last that ranks is the outermost, whose window and order count.

    Attributes:
        mode: The part. A search that cannot be interleaved after all is reranked.
        reranker: The outermost retriever of the search.
        coins: What the coins of its interleaving are thrown by.
        against: The endpoint whose order is the other one; None for the first stage's.
        before: The documents of the window, in its order.
        after: The documents in the reranker's order.
        shown: The documents in the order of the answer.
    """

    mode: Mode
    reranker: TextSimilarityReranker
    coins: int = 0
    against: str | None = None
    before: Sequence[RankDoc] = ()
    after: Sequence[RankDoc] = ()
    shown: Sequence[RankDoc] = ()
    teams: dict[Key, Team] = field(default_factory=dict)

    def ranked(
        self, window: Sequence[RankDoc], own: Sequence[RankDoc], other: Sequence[RankDoc] | None = None
    ) -> Sequence[RankDoc]:
        """Take note of a window and its order, and return the order that is shown.

        Args:
            own: The reranker's order.
            other: That of another endpoint; None if there is none.
        """
        self.before, self.after, self.teams = window, own, {}
        self.shown = own
        if self.mode == "interleaved":
            other = window if self.against is None else other
            if own and other is not None:
                self.shown, self.teams = interleaved(own, other, self.coins)
            else:
                self.mode = "reranked"
        return self.shown

    def page(self, start: int, size: int, min_score: float | None = None) -> list[Shown]:
        """Return the documents of a page of the answer, each with its places in both orders.

        Args:
            min_score: What their scores have to reach.
        """
        before, after = _places(self.before), _places(self.after)
        return [
            Shown(doc.index, doc.id, before.get(key, 0), after.get(key, 0), self.teams.get(key))
            for doc in self.shown[start : start + size]
            for key in ((doc.index, doc.id),)
            if min_score is None or doc.score >= min_score
        ]

    def places_after(self, docs: Sequence[Key]) -> list[int]:
        """Return the place of each document in the reranker's order, from 1; 0 for one that is not in it."""
        after = _places(self.after)
        return [after.get(key, 0) for key in docs]


def _places(docs: Sequence[RankDoc]) -> dict[Key, int]:
    return {(doc.index, doc.id): place for place, doc in enumerate(docs, 1)}
