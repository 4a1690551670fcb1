"""What a reranker is trained on and measured with."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from rerank_proxy.relevance.judgments import Hit, Judgments, Query, Ranked, Run


@dataclass(frozen=True, slots=True)
class Material:
    """Queries with everything that is known about them.

    Attributes:
        queries: By id.
        judgments: Of some of the queries, by their ids; empty where only a teacher tells what is good.
        first: What the first stage finds for each query, best first, at most as many as the window.
        texts: By the id of the document: of everything that was found or is judged, if it has a text.
        base: The scores of the endpoint that is compared with, by query and document; empty if none is asked.
        teacher: The scores of a teacher, by query and document; empty without one.
        titles: By the id of the document: those that are learned from as queries.
        practice: Titles as queries with their windows, and a teacher's scores if there is one; None if the
            index was not asked for them.
        left_out: How many queries are not among `queries` any more, since nothing can be learned of them.
    """

    queries: Mapping[str, Query]
    judgments: Judgments
    first: Run
    texts: Mapping[str, str]
    base: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    teacher: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    titles: Mapping[str, str] = field(default_factory=dict)
    practice: "Material | None" = None
    left_out: int = 0

    def relevant(self, query: str) -> dict[str, int]:
        """Return the documents of a query that are graded above 0 and have a text, with their grades."""
        grades = self.judgments.get(query, {})
        return {name: grade for name, grade in grades.items() if grade > 0 and name in self.texts}

    def window(self, query: str) -> list[str]:
        """Return the documents that a reranker is given for a query, in the order of the first stage."""
        return [hit.id for hit in self.first.get(query, ()) if hit.id in self.texts]

    def pairs(self, queries: Iterable[str]) -> int:
        """Return how many pairs of query and relevant document there are."""
        return sum(len(self.relevant(query)) for query in queries)


def reordered(documents: Sequence[str], scores: Mapping[str, float]) -> Ranked:
    """Return documents by descending score. Those that tie stay in their order, as natively in one shard."""
    hits = [Hit(name, float(scores[name])) for name in documents]
    return sorted(hits, key=lambda hit: -hit.score)
