"""Retrievers as plain data. Query clauses stay bytes, exactly as the client wrote them.

A retriever is a leaf, which one search upstream answers, or compound: it makes a ranked list of documents out
of its children's (``CompoundRetrieverBuilder``).
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import ClassVar, Final, get_args

from rerank_proxy.chunks.settings import ChunkRescorer
from rerank_proxy.search.ranks.scores import MIN_VALUE

DEFAULT_INFERENCE_ID: Final = ".rerank-v1-elasticsearch"
DEFAULT_RANK_WINDOW_SIZE: Final = 10
DEFAULT_RANK_CONSTANT: Final = 60
TEXT_SIMILARITY_RERANKER: Final = "text_similarity_reranker"


@dataclass(frozen=True, slots=True, kw_only=True)
class StandardRetriever:
    """A query, and what narrows or orders it."""

    TYPE: ClassVar = "standard"

    query: bytes | None = None
    sort: bytes | None = None
    collapse: bytes | None = None
    search_after: bytes | None = None
    terminate_after: int = 0
    min_score: float | None = None
    filters: tuple[bytes, ...] = ()
    name: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class KnnRetriever:
    """A vector search.

    Attributes:
        section: The keys of the search body's `knn` section but `filter`, as written.
        k, num_candidates, visit_percentage: The same again as numbers; the second has a default.
    """

    TYPE: ClassVar = "knn"

    section: Mapping[str, bytes]
    k: int
    num_candidates: int
    visit_percentage: float | None = None
    min_score: float | None = None
    filters: tuple[bytes, ...] = ()
    name: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Compound:
    """What all compound retrievers have.

    Attributes:
        rank_window_size: Documents taken from each child, and at most in the own list.
        filters: For the children, recursively.
        min_score: None too where Elasticsearch forgets it: the builders of `rescorer`, `rrf`, `pinned`,
            `rule` and `diversify` do not pass it on when they are cloned, and they always are.
        name: `diversify` forgets this as well.
    """

    WINDOW_KEY: ClassVar = "rank_window_size"
    """What the window is called in messages."""

    rank_window_size: int = DEFAULT_RANK_WINDOW_SIZE
    filters: tuple[bytes, ...] = ()
    min_score: float | None = None
    name: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Wrapper(_Compound):
    """A compound retriever with just one child."""

    child: "Retriever"

    @property
    def children(self) -> "tuple[Retriever, ...]":
        return (self.child,)


@dataclass(frozen=True, slots=True, kw_only=True)
class TextSimilarityReranker(_Wrapper):
    """Reranks the first `rank_window_size` hits of `child` by how `field` answers `inference_text`."""

    TYPE: ClassVar = TEXT_SIMILARITY_RERANKER

    field: str
    inference_text: str
    inference_id: str = DEFAULT_INFERENCE_ID
    allow_rerank_failures: bool | None = None
    chunk_rescorer: ChunkRescorer | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PinnedDoc:
    """A document to be pinned; without `index`, the one of this id in any index."""

    id: str
    index: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PinnedRetriever(_Wrapper):
    """Puts the documents `docs`, in this order, above everything that `child` finds.

    `key`: where they were listed, `ids` or `docs`.
    """

    TYPE: ClassVar = "pinned"

    docs: tuple[PinnedDoc, ...]
    key: str = "docs"


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleRetriever(_Wrapper):
    """Applies upstream's query rules around what `child` finds."""

    TYPE: ClassVar = "rule"

    ruleset_ids: bytes
    match_criteria: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class RescorerRetriever(_Wrapper):
    """Runs the search body's `rescore` over what `child` finds; the window is the smallest of its own."""

    TYPE: ClassVar = "rescorer"
    WINDOW_KEY: ClassVar = "window_size"

    rescore: tuple[bytes, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class DiversifyRetriever(_Wrapper):
    """Keeps `size` documents of the window that are near the query and far from one another (MMR).

    `encoded_vector`: a query vector in one string, which is not allowed here.
    """

    TYPE: ClassVar = "diversify"

    field: str
    size: int
    lambda_: float | None
    query_vector: tuple[float, ...] | None = None
    encoded_vector: str | None = None
    query_vector_builder: bytes | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Component:
    """A child of a fusing retriever, with its part in the sum. `normalizer` is `linear`'s alone."""

    retriever: "Retriever"
    weight: float = 1.0
    normalizer: str = "none"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Fusion(_Compound):
    """A compound retriever that adds up several lists.

    Attributes:
        components: Empty in the simplified form, which has a `query` instead.
        query: The simplified form: a text to be looked for in `fields`.
        fields: Names and patterns, each with an optional `^weight`; None: the index's default fields.
    """

    components: tuple[Component, ...] = ()
    query: str | None = None
    fields: tuple[str, ...] | None = None

    @property
    def children(self) -> "tuple[Retriever, ...]":
        return tuple(component.retriever for component in self.components)


@dataclass(frozen=True, slots=True, kw_only=True)
class RrfRetriever(_Fusion):
    """Reciprocal rank fusion."""

    TYPE: ClassVar = "rrf"

    rank_constant: int = DEFAULT_RANK_CONSTANT


@dataclass(frozen=True, slots=True, kw_only=True)
class LinearRetriever(_Fusion):
    """A weighted sum of normalised scores.

    `normalizer`: the one of the simplified form, and of components that name none.
    """

    TYPE: ClassVar = "linear"

    normalizer: str | None = None


LeafRetriever = StandardRetriever | KnnRetriever
WrappingRetriever = (
    TextSimilarityReranker | PinnedRetriever | RuleRetriever | RescorerRetriever | DiversifyRetriever
)
FusingRetriever = RrfRetriever | LinearRetriever
CompoundRetriever = WrappingRetriever | FusingRetriever
Retriever = LeafRetriever | CompoundRetriever


RETRIEVER_TYPES: Final = frozenset(each.TYPE for each in get_args(Retriever))
COMPOUND_TYPES: Final = frozenset(each.TYPE for each in get_args(CompoundRetriever))


def walk(retriever: Retriever) -> Iterator[Retriever]:
    """The retriever and all below it, parents first, in the order of the request."""
    yield retriever
    if isinstance(retriever, LeafRetriever):
        return
    for child in retriever.children:
        yield from walk(child)


def effective_min_score(retriever: Retriever) -> float | None:
    """What a search with this as its only retriever filters by (``CompoundRetrieverBuilder#rewrite``): the
    retriever's own `min_score`, else the smallest positive one as soon as any child has one in effect.
    """
    if retriever.min_score is not None or isinstance(retriever, LeafRetriever):
        return retriever.min_score
    if any(effective_min_score(child) is not None for child in retriever.children):
        return MIN_VALUE
    return None
