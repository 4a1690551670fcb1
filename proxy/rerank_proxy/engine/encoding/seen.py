"""What a model reads of a text: how many tokens, and up to which character.

A row does not say which of the text's characters it has. So its ids are looked for among those of the text,
for which the tokenizer tells where each token ends. This is done for recordings alone, after the search.
"""

from collections.abc import Sequence
from typing import Final

import numpy as np

from rerank_proxy.concurrency.steps import Steps
from rerank_proxy.engine.encoding.inputs import Inputs
from rerank_proxy.engine.encoding.scorers import Scorer
from rerank_proxy.engine.encoding.tokenizer import View
from rerank_proxy.engine.rows import Row, tokens_of
from rerank_proxy.observe.recording import Seen

_JOINED: Final = 2
"""Tokens at the beginning of a text that may be others within a row, joined with what is before them."""


def seen(scorer: Scorer, query: str, texts: Sequence[str], limit: int) -> Steps[list[Seen]]:
    """Return what the model reads of each text.

    Args:
        limit: Characters of a text beyond which it is cut before it is tokenised.
    """
    inputs = yield from Inputs.of(scorer, query, texts, limit, known_keys=(b"",))
    view, found = scorer.view, list[Seen]()
    positions = range(scorer.texts_at, scorer.texts_at + len(texts))
    for piece in scorer.encode(inputs.query, inputs.texts, positions):
        for row in piece:
            given, read = texts[len(found)], inputs.texts[len(found)]
            found.append(_seen(row, view, given, read))
            yield
    return found


def _seen(row: Row, view: View | None, given: str, read: str) -> Seen:
    """Return what a model reads of a text by its row.

    Args:
        given: The text.
        read: What of it was tokenised.
    """
    if view is None:
        return Seen()
    end: int | None = len(read)
    if any(window.truncated for window in row.windows):
        # Halves of surrogate pairs that were put together have moved all places.
        end = _end_of(row, view, read) if read == given[: len(read)] else None
    return Seen(tokens_of([row]), None if end == len(given) else end)


def _end_of(row: Row, view: View, text: str) -> int | None:
    """Return the character behind the last one of the text that a row has a token of; None if unknown."""
    whole, before = view.whole(text)
    ends = view.tokenizer.ends(whole, tokens_of([row]))
    if ends is None:
        return None
    ids, places = ends
    kept = _end(row.ids.tolist(), ids)
    if row.further and kept:
        kept = kept if view.reach is None else view.reach(ids, kept)
    if kept == len(ids):  # it is the query that was cut
        return len(text)
    return min(max(places[kept - 1] - before, 0), len(text)) if kept else None


def _end(row: Sequence[int], text: Sequence[int]) -> int:
    """Return how many of the text's ids the row has, from the first on, in one run."""
    longest = 0
    read, looked_for = np.array(row), np.array(text[: len(row) + _JOINED])
    for skipped in range(min(_JOINED + 1, len(text))):
        wanted = looked_for[skipped:]
        for at in np.flatnonzero(read == text[skipped]).tolist():
            part = read[at : at + len(wanted)]
            differing = np.flatnonzero(part != wanted[: len(part)])
            run = int(differing[0]) if len(differing) else len(part)
            longest = max(longest, skipped + run)
        if longest > _JOINED:
            break
    return longest
