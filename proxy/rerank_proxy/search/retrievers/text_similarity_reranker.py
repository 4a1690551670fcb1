"""`text_similarity_reranker`: hits of a child, ranked by a model (``TextSimilarityRankRetrieverBuilder``)."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Final, Self

from rerank_proxy.chunks import ChunkingSettings, ChunkRescorer, default_chunking
from rerank_proxy.chunks.grammar import parse_chunk_rescorer
from rerank_proxy.errors import ElasticsearchError, validation_error
from rerank_proxy.search.failures import UnreadFieldError
from rerank_proxy.search.ranks.ranking import RankDoc, reaching
from rerank_proxy.search.retrievers.compound import DEFAULT_RANK_WINDOW_SIZE, WrappingRetriever
from rerank_proxy.search.retrievers.explanations import Detail, text_similarity
from rerank_proxy.search.retrievers.grammar import BASE_FIELDS, Nesting, base, each_level
from rerank_proxy.search.retrievers.ports import Evaluator
from rerank_proxy.search.retrievers.retriever import (
    EvaluatedRetriever,
    ExplainedRetriever,
    Key,
    LeafRetriever,
    Windows,
)
from rerank_proxy.xcontent.java_numbers import print_float
from rerank_proxy.xcontent.java_values import well_formed
from rerank_proxy.xcontent.object_parser import BOOL, INT, RAW_OBJECT, STR, Field, parse_object
from rerank_proxy.xcontent.source import Node

DEFAULT_INFERENCE_ID: Final = ".rerank-v1-elasticsearch"


@dataclass(frozen=True, slots=True, kw_only=True)
class TextSimilarityReranker(WrappingRetriever):
    """Reranks the first `rank_window_size` hits of `child` by how `field` answers `inference_text`."""

    TYPE: ClassVar = "text_similarity_reranker"

    field: str
    inference_text: str
    inference_id: str = DEFAULT_INFERENCE_ID
    allow_rerank_failures: bool | None = None
    chunk_rescorer: ChunkRescorer | None = None

    @classmethod
    def parse(cls, node: Node, nesting: Nesting) -> Self:
        values = parse_object(node, cls.TYPE, _fields(nesting.below))
        return cls(
            child=values["retriever"],
            field=values["field"],
            inference_text=well_formed(values["inference_text"]),
            inference_id=values.get("inference_id", DEFAULT_INFERENCE_ID),
            allow_rerank_failures=values.get("allow_rerank_failures"),
            chunk_rescorer=values.get("chunk_rescorer"),
            min_score=values.get("min_score"),
            rank_window_size=values.get("rank_window_size", DEFAULT_RANK_WINDOW_SIZE),
            **base(values),
        )

    def check_after_children(self, filters: tuple[bytes, ...]) -> None:
        if self.chunk_rescorer is not None:
            self.chunk_rescorer.check()

    @property
    def scored_window(self) -> int:
        return self.rank_window_size

    @property
    def child_collapses(self) -> bool:
        return self.child.collapses

    @property
    def reads(self) -> frozenset[str]:
        return frozenset({self.field})

    def check_window(self) -> None:
        if self.rank_window_size == 0:
            raise validation_error(["[rank] requires [size] greater than [0]"])

    def read_failure(self, failure: ElasticsearchError) -> ElasticsearchError | None:
        """Return a failure of the phase in which native reads texts."""
        return UnreadFieldError(failure)

    async def take(
        self, child: EvaluatedRetriever, docs: Sequence[RankDoc], evaluator: Evaluator
    ) -> tuple[EvaluatedRetriever, Sequence[RankDoc]]:
        docs = await evaluator.texts(docs, self.field)
        if docs or isinstance(child.retriever, LeafRetriever):
            docs = await evaluator.rerank(self, docs)
        else:
            evaluator.pass_over(self)
        if child.retriever.stands_for_its_results:
            # Its results are those of its search, and natively the rank phase is part of that.
            child = replace(child, docs=docs)
        return child, reaching(docs, self.min_score)

    def matches(self, evaluated: EvaluatedRetriever, below: Sequence[bytes]) -> list[bytes]:
        return [*below]

    def explain(self, explained: ExplainedRetriever, key: Key, boost: float) -> Detail | None:
        doc = explained.doc(key)
        if doc is None:
            return None
        chunks = None if self.chunk_rescorer is None else self.chunk_rescorer.size
        (source,) = explained.sources(key, boost)
        return text_similarity(doc.score, self.inference_id, self.field, source, chunks)

    def print_doc(self, doc: RankDoc, rank: int, windows: Windows) -> str:
        """Return a document as ``TextSimilarityRankDoc#toString`` prints it."""
        shard, number = divmod(doc.shard_doc or 0, 1 << 32)
        score = print_float(doc.score).decode()
        return (
            f"TextSimilarityRankDoc{{doc={number}, shardIndex={shard}, score={score}, "
            f"inferenceId={self.inference_id}, field={self.field}, "
            f"chunkScorerConfig={self._printed_chunks(windows)}}}"
        )

    def doc_as_json(self, doc: RankDoc, rank: int, windows: Windows) -> dict[str, Any]:
        """Return a document as ``TextSimilarityRankDoc#doToXContent`` prints it, without its rank."""
        values = WrappingRetriever.doc_as_json(self, doc, -1, windows)
        values |= {"inferenceId": self.inference_id, "field": self.field}
        if self.chunk_rescorer is not None:
            settings = self._chunking(self.chunk_rescorer, windows)
            values["chunkScorerConfig"] = {
                "size": self.chunk_rescorer.size,
                "inference_text": None,
                **({} if settings is None else {"chunking_settings": settings.values()}),
            }
        return values

    def _printed_chunks(self, windows: Windows) -> str:
        """Print the chunk rescorer as ``ChunkScorerConfig#toString`` does, which no longer has the text."""
        if self.chunk_rescorer is None:
            return "null"
        settings = self._chunking(self.chunk_rescorer, windows)
        shown = "null"
        if settings is not None:
            shown = json.dumps(settings.values(), separators=(",", ":"), ensure_ascii=False)
        size = self.chunk_rescorer.size
        return f"ChunkScorerConfig{{size={size}, inferenceText=[null], chunkingSettings={shown}}}"

    def _chunking(self, rescorer: ChunkRescorer, windows: Windows) -> ChunkingSettings | None:
        """Return the chunking settings, by default those for the endpoint; None if it was not used."""
        words = windows.get(self.inference_id)
        return (
            default_chunking(words) if rescorer.chunking is None and words is not None else rescorer.chunking
        )


@each_level
def _fields(children: Nesting) -> Mapping[str, Field]:
    return {
        "retriever": children.child,
        "inference_id": STR,
        "inference_text": replace(STR, required=True),
        "field": replace(STR, required=True),
        "rank_window_size": INT,
        "allow_rerank_failures": BOOL,
        "chunk_rescorer": Field(RAW_OBJECT.kinds, parse_chunk_rescorer),
        **BASE_FIELDS,
    }
