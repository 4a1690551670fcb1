"""The chunks of a document that the model reads (``MemoryIndexChunkScorer#scoreChunks``)."""

from collections import Counter
from collections.abc import Sequence

import numpy as np

from proxy.chunks.analysis import Analyzer
from proxy.chunks.bm25 import scores
from proxy.chunks.chunkers import Span, chunk
from proxy.chunks.settings import ChunkingSettings, ChunkRescorer
from proxy.chunks.words import Words, WordStatus

_JAVA_BLANK = "".join(map(chr, range(0x21)))


class ChunkSelector:
    """Selects the chunks of one request's documents.

    Args:
        rescorer: What the request says.
        inference_text: The query that chunks are ranked for.
        default: The chunking where the request says nothing of it, `default_chunking` of the endpoint.
    """

    def __init__(self, rescorer: ChunkRescorer, inference_text: str, default: ChunkingSettings) -> None:
        self._size = rescorer.size
        self._chunking = default if rescorer.chunking is None else rescorer.chunking
        self._blank = not inference_text.strip(_JAVA_BLANK)
        self._analyzer = Analyzer()
        self._status = WordStatus()
        self._query = Counter(self._analyzer.all_terms(Words(inference_text)))

    def select(self, text: str) -> list[str]:
        """The best chunks of a document's text, at most `size`, the best first.

        Only chunks that match the query are taken, by score and then as they follow in the text; where none
        matches, the first ones are. For a blank query there are none.

        Raises:
            ElasticsearchError: 400, for a separator that Elasticsearch would stumble over here, too.
        """
        if self._blank:
            return []
        words = Words(text, self._status)
        spans: Sequence[Span] = chunk(words, self._chunking)
        if len(spans) > 1:
            spans = self._best(words, spans)
        return [text[start:end] for start, end in spans]

    def _best(self, words: Words, spans: Sequence[Span]) -> Sequence[Span]:
        scored = scores(self._query, [self._analyzer.terms(words, *span) for span in spans])
        ranked = np.argsort(-scored, kind="stable")[: self._size]
        return [spans[index] for index in ranked if scored[index] > 0] or spans[: self._size]
