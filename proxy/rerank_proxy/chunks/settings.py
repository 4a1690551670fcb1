"""Settings of chunking, and of how many chunks count (``ChunkingSettings``, ``ChunkScorerConfig``)."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from rerank_proxy.errors import illegal_argument

PLAINTEXT_SEPARATORS: Final = (r"(?<!\n)\n\n(?!\n)", r"(?<!\n)\n(?!\n)")
MARKDOWN_SEPARATORS: Final = (
    *(f"\n{'#' * level} " for level in range(1, 7)),
    "\n^(?![^\\S\n\r]*$).*\\n-{1,}\\n",
    "\n^(?![^\\S\n\r]*$).*\\n={1,}\\n",
)
"""Native has ``\\s*`` for the blanks of a line, which means the same at quadratic cost."""
SEPARATOR_GROUPS: Final[Mapping[str, tuple[str, ...]]] = {
    "markdown": MARKDOWN_SEPARATORS,
    "plaintext": PLAINTEXT_SEPARATORS,
}
"""``SeparatorGroup``: Java regular expressions, the coarsest first."""


MAX_CHARACTERS: Final = 1_000_000
"""The most characters of a text that are cut into chunks, unless the settings say otherwise."""

MAX_SEPARATORS: Final = 50
"""``RecursiveChunkingSettings``, since 9.5.5."""


@dataclass(frozen=True, slots=True)
class NoneChunkingSettings:
    """The whole text is one chunk."""

    def values(self) -> dict[str, Any]:
        """Return them as ``ChunkingSettings#asMap`` does; so do the other classes."""
        return {"strategy": "none"}


@dataclass(frozen=True, slots=True)
class WordBoundaryChunkingSettings:
    """Chunks of `max_chunk_size` words, each beginning with the last `overlap` words of the one before."""

    max_chunk_size: int
    overlap: int

    def values(self) -> dict[str, Any]:
        return {"strategy": "word", "max_chunk_size": self.max_chunk_size, "overlap": self.overlap}


@dataclass(frozen=True, slots=True)
class SentenceBoundaryChunkingSettings:
    """As many whole sentences as have at most `max_chunk_size` words; `sentence_overlap` is 0 or 1."""

    max_chunk_size: int
    sentence_overlap: int = 1

    def values(self) -> dict[str, Any]:
        overlap = self.sentence_overlap
        return {"strategy": "sentence", "max_chunk_size": self.max_chunk_size, "sentence_overlap": overlap}


@dataclass(frozen=True, slots=True)
class RecursiveChunkingSettings:
    """Cut at the first of `separators`, what is still too long at the next, and in the end at sentences."""

    max_chunk_size: int
    separators: tuple[str, ...] = PLAINTEXT_SEPARATORS

    def values(self) -> dict[str, Any]:
        size, separators = self.max_chunk_size, [*self.separators]
        return {"strategy": "recursive", "max_chunk_size": size, "separators": separators}


ChunkingSettings = (
    NoneChunkingSettings
    | WordBoundaryChunkingSettings
    | SentenceBoundaryChunkingSettings
    | RecursiveChunkingSettings
)


@dataclass(frozen=True, slots=True)
class ChunkRescorer:
    """The `chunk_rescorer` of a reranker.

    Attributes:
        size: Chunks per document.
        chunking: None if the request leaves it to the endpoint's window.
    """

    size: int = 1
    chunking: ChunkingSettings | None = None

    def check(self) -> None:
        """Refuse what ``TextSimilarityRankRetrieverBuilder#clone`` refuses, after the request is validated.

        Raises:
            ElasticsearchError: 400, if `size` is below 1.
        """
        if self.size < 1:
            raise illegal_argument(f"size must be greater than 0, was: {self.size}")


def default_chunking(window_words: int) -> SentenceBoundaryChunkingSettings:
    """Return ``ChunkScorerConfig#defaultChunkingSettings``: sentences up to the window, without overlap."""
    return SentenceBoundaryChunkingSettings(max_chunk_size=window_words, sentence_overlap=0)


CONSERVATIVE_WINDOW_WORDS: Final = 300
"""Words that fit into 512 tokens (``RerankingInferenceService``)."""

_SERVICE_WINDOWS: Final[Mapping[str, int]] = {
    "cohere": 2800,
    "jinaai": 5500,
    "mixedbread": 22000,
    "voyageai": 5500,
    "watsonxai": 350,
}
_MODEL_WINDOWS: Final[Mapping[tuple[str, str], int]] = {
    ("mixedbread", "mixedbread-ai/mxbai-rerank-base-v1"): 300,
    ("mixedbread", "mixedbread-ai/mxbai-rerank-large-v1"): 300,
    ("mixedbread", "mixedbread-ai/mxbai-rerank-xsmall-v1"): 300,
    ("voyageai", "rerank-lite-1"): 2800,
}


def default_window_words(service: str, model: str | None = None) -> int:
    """Return the words of a text that a model reads (``RerankingInferenceService#rerankerWindowSize``).

    Args:
        service: Elasticsearch's name of the service, such as `cohere`; unknown ones have the smallest window.
        model: The `model_id` of the endpoint.
    """
    if model is not None and (service, model) in _MODEL_WINDOWS:
        return _MODEL_WINDOWS[service, model]
    return _SERVICE_WINDOWS.get(service, CONSERVATIVE_WINDOW_WORDS)
