"""Select the chunks of a document that the model reads (``MemoryIndexChunkScorer#scoreChunks``)."""

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np

from rerank_proxy.chunks.analysis import Analyzer
from rerank_proxy.chunks.bm25 import scores
from rerank_proxy.chunks.chunkers import Span, chunk
from rerank_proxy.chunks.settings import ChunkingSettings, ChunkRescorer
from rerank_proxy.chunks.words import Words, WordStatus
from rerank_proxy.concurrency.steps import Steps

_JAVA_BLANK = "".join(map(chr, range(0x21)))


class ChunkSelector:
    """Selects the chunks of one request's documents.

    Args:
        rescorer: The settings of the request.
        inference_text: The query that chunks are ranked for.
        default: The chunking if the request has no settings for it: `default_chunking` of the endpoint.
    """

    def __init__(self, rescorer: ChunkRescorer, inference_text: str, default: ChunkingSettings) -> None:
        self._size = rescorer.size
        self._chunking = default if rescorer.chunking is None else rescorer.chunking
        self._inference_text = inference_text
        self._blank = not inference_text.strip(_JAVA_BLANK)
        self._analyzer = Analyzer()
        self._status = WordStatus()
        self._query: Mapping[str, int] | None = None

    def select(self, text: str) -> Steps[Sequence[Span]]:
        """Return where the best chunks of a document's text are, at most `size`, the best first.

        Only chunks that match the query are taken, by score and then in text order; if none matches, the
        first ones are. For a blank query there are none.

        Raises:
            ElasticsearchError: 400, for a separator on which Elasticsearch would fail here, too.
        """
        if self._blank:
            return []
        self._analyzer.forget()
        self._status.forget()
        words = yield from Words.read(text, self._status)
        spans: Sequence[Span] = yield from chunk(words, self._chunking)
        if len(spans) > 1:
            spans = yield from self._best(words, spans)
        return spans

    def _best(self, words: Words, spans: Sequence[Span]) -> Steps[Sequence[Span]]:
        if self._query is None:
            query = yield from Words.read(self._inference_text)
            self._query = Counter((yield from self._analyzer.all_terms(query)))
        chunks: list[tuple[str, ...]] = []  # which the garbage collector need not traverse
        for span in spans:
            chunks.append(tuple((yield from self._analyzer.terms(words, *span))))
            yield
        scored = yield from scores(self._query, chunks)
        ranked = np.argsort(-scored, kind="stable")[: self._size]
        return [spans[index] for index in ranked if scored[index] > 0] or spans[: self._size]
