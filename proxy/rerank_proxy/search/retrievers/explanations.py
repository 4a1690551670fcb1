"""`_explanation` of ranked documents: the nodes that retrievers put above those of their children."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from rerank_proxy.xcontent.java_numbers import print_float
from rerank_proxy.xcontent.splicing import Printer

SUM: Final = "sum of:"
"""How Lucene describes the score of several clauses together."""


@dataclass(frozen=True, slots=True)
class Explanation:
    """A node of an explanation.

    Attributes:
        value: A score if it is a float, a rank if it is an int; they print differently.
        details: Nodes below. One that upstream printed stays as it is, numbers and all.
    """

    value: float | int
    description: str
    details: "Sequence[Detail]" = ()

    def printed(self, printer: Printer, depth: int) -> bytes:
        """As a JSON object at this depth of the answer; upstream's bytes are in the printer's style."""
        details = [_printed(detail, printer, depth + 2) for detail in self.details]
        members = {
            "value": str(self.value).encode() if isinstance(self.value, int) else print_float(self.value),
            "description": printer.value(self.description),
            "details": printer.array(details, depth + 1),
        }
        return printer.object(members, depth)


Detail = Explanation | bytes


@dataclass(frozen=True, slots=True)
class Source:
    """A child of a compound retriever: how it explains the document, and its `_name`.

    `explanation` is None where the child did not find the document.
    """

    explanation: Detail | None
    name: str | None = None

    @property
    def details(self) -> Sequence[Detail]:
        return () if self.explanation is None else (self.explanation,)


def text_similarity(
    score: float, inference_id: str, field: str, source: Source, chunks: int | None = None
) -> Explanation:
    """A reranked document (``TextSimilarityRankDoc``).

    `chunks`: the `size` of the retriever's `chunk_rescorer`; None without one.
    """
    description = (
        f"text_similarity_reranker match using inference endpoint: [{inference_id}] "
        f"on document field: [{field}] matching on source query "
    )
    if source.name is not None:
        description += f"[{source.name}]"
    if chunks is not None:
        description += f"and rescoring considering only top [{chunks}] best chunks"
    return Explanation(score, description, source.details)


def rrf(
    score: float, rank_constant: int, ranks: Sequence[int | None], sources: Sequence[Source]
) -> Explanation:
    """A document of `rrf` (``RRFRankDoc``), which does not speak of weights.

    `ranks`: its rank in the list of each child, from 1; None where it is not in there.
    """
    details = [
        _missed("rrf", at, source) if rank is None else _reciprocal_rank(rank, rank_constant, at, source)
        for at, (rank, source) in enumerate(zip(ranks, sources, strict=True))
    ]
    return Explanation(
        score,
        f"rrf score: [{_float(score)}] computed for initial ranks {_array(str(rank or 0) for rank in ranks)} "
        f"with rankConstant: [{rank_constant}] as sum of [1 / (rank + rankConstant)] for each query",
        details,
    )


def _reciprocal_rank(rank: int, rank_constant: int, at: int, source: Source) -> Explanation:
    worth = np.float32(1) / np.float32(rank + rank_constant)
    return Explanation(
        rank,
        f"rrf score: [{_float(worth)}], for rank [{rank}] in query {_identifier(at, source)} "
        f"computed as [1 / ({rank} + {rank_constant})], for matching query with score",
        source.details,
    )


def linear(
    score: float,
    weights: Sequence[float],
    normalizers: Sequence[str],
    normalized: Sequence[float],
    sources: Sequence[Source],
) -> Explanation:
    """A document of `linear` (``LinearRankDoc``).

    `normalized`: its score in the list of each child, by that child's normalizer; 0 where it is not in there.
    Native does not tell the one from a normalised score of 0.
    """
    parts = zip(weights, normalizers, normalized, sources, strict=True)
    details = [
        _weighted(weight, normalizer, part, at, source) if part > 0 else _missed("weighted", at, source)
        for at, (weight, normalizer, part, source) in enumerate(parts)
    ]
    return Explanation(
        score,
        f"weighted linear combination score: [{_float(score)}] computed for normalized scores "
        f"{_array(map(_float, normalized))} and weights {_array(map(_float, weights))} "
        "as sum of (weight[i] * score[i]) for each query.",
        details,
    )


def _weighted(weight: float, normalizer: str, part: float, at: int, source: Source) -> Explanation:
    weighted = float(np.float32(weight) * np.float32(part))
    return Explanation(
        weighted,
        f"weighted score: [{_float(weighted)}] in query {_identifier(at, source)} computed as "
        f"[{_float(weight)} * {_float(part)}] using score normalizer [{normalizer}] "
        "for original matching query with score:",
        source.details,
    )


def rank_doc(shard_doc: int, score: float, rank: int, details: Sequence[Detail]) -> Explanation:
    """A document of a retriever that says nothing of its own (``RankDoc``): `rescorer`, `diversify`, a `knn`
    below another retriever, and what `pinned` found but did not pin.

    `rank` counts from 1; under `diversify` it is the one in the child's list.
    """
    return Explanation(
        rank,
        f"doc [{shard_doc & 0xFFFFFFFF}] with an original score of [{_float(score)}] is at rank [{rank}] "
        "from the following source queries.",
        details,
    )


def pinned(score: float, original: Detail) -> Explanation:
    """A pinned document (``PinnedRankDoc``)."""
    return Explanation(score, "Pinned document, original explanation:", (original,))


def not_ranked(ranked: int) -> Explanation:
    """A document of the tail (``RankDocsQuery``), on a shard that has `ranked` of the ranked documents."""
    return Explanation(0.0, f"doc not found in top {ranked} rank docs" if ranked else "")


def without_nested(score: float, ranked: Explanation) -> Explanation:
    """A ranked document of an index whose mapping has nested fields, which a filter keeps out."""
    return Explanation(score, SUM, (ranked, _keeping_nested_out()))


def tail_without_nested(docs: str, not_ranked: Explanation) -> Explanation:
    """The same of a document of the tail. `docs`: the ranked ones of its shard, as printed."""
    missed = Explanation(0.0, f"no match on required clause (RankDocsQuery{docs})", (not_ranked,))
    reason = "Failure to meet condition(s) of required/prohibited clause(s)"
    return Explanation(0.0, reason, (missed, _keeping_nested_out()))


def _keeping_nested_out() -> Explanation:
    filtered = (Explanation(0.0, "# clause"), Explanation(1.0, "FieldExistsQuery [field=_primary_term]"))
    return Explanation(0.0, "match on required clause, product of:", filtered)


def _missed(kind: str, at: int, source: Source) -> Explanation:
    return Explanation(0.0, f"{kind} score: [0], result not found in query {_identifier(at, source)}")


def _identifier(at: int, source: Source) -> str:
    return f"at index [{at}]" + ("" if source.name is None else f" [{source.name}]")


def _array(items: Iterable[str]) -> str:
    """As Java's ``Arrays.toString``."""
    return f"[{', '.join(items)}]"


def _float(value: float | np.float32) -> str:
    return print_float(float(value)).decode()


def _printed(detail: Detail, printer: Printer, depth: int) -> bytes:
    return _moved(detail, depth) if isinstance(detail, bytes) else detail.printed(printer, depth)


def _moved(raw: bytes, depth: int) -> bytes:
    """An object that was printed at another depth. Its last line shows which; strings have no line ends."""
    brace = raw.rfind(b"\n")
    return raw if brace < 0 else raw.replace(raw[brace:-1], b"\n" + b"  " * depth)
