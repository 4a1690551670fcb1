"""What a model reads of a text: how many tokens, up to which character, and what it reads around it.

A row does not say which of the text's characters it has. So its ids are looked for among those of the text,
for which the tokenizer tells where each token ends. This is done for recordings alone, after the search.
"""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np

from rerank_proxy.concurrency.steps import Steps
from rerank_proxy.engine.encoding.inputs import Inputs
from rerank_proxy.engine.encoding.scorers import Scorer
from rerank_proxy.engine.encoding.tokenizer import View
from rerank_proxy.engine.rows import Row, tokens_of
from rerank_proxy.observe.recording import Around, Seen

_JOINED: Final = 2
"""Tokens at the beginning of a text that may be others within a row, joined with what is before them."""


def seen(scorer: Scorer, query: str, texts: Sequence[str], limit: int) -> Steps[list[Seen]]:
    """Return what the model reads of each text.

    Args:
        limit: Characters of a text beyond which it is cut before it is tokenised.
    """
    if scorer.view is None:
        return [Seen() for _ in texts]
    inputs = yield from Inputs.of(scorer, query, texts, limit, known_keys=(b"",))
    reader, found = _Reader(scorer.view), list[Seen]()
    queries = scorer.texts_at  # whose rows come first
    for piece in scorer.encode(inputs.query, inputs.texts, range(queries + len(texts))):
        for row in piece:
            if queries:
                queries -= 1
                reader.apart = reader.said(row.ids.tolist())
                continue
            found.append(reader.seen(row, texts[len(found)], inputs.texts[len(found)]))
            yield
    return found


class _Place(NamedTuple):
    """Where a row has a text's ids.

    Attributes:
        start, end: From one place in the row to behind another.
        kept: How many of the text's ids these are.
        skipped: How many of them are others in the row.
    """

    start: int
    end: int
    kept: int
    skipped: int


@dataclass(slots=True)
class _Reader:
    """Reads rows.

    Attributes:
        apart: What is read of the query, where it is read by itself.
    """

    view: View
    apart: str | None = None
    _around: Around | None = None
    """What is around all texts that are read to their end."""

    def seen(self, row: Row, given: str, read: str) -> Seen:
        """Return what a model reads of a text by its row.

        Args:
            given: The text.
            read: What of it was tokenised.
        """
        is_cut = any(window.truncated for window in row.windows)
        if not is_cut and self._around is not None:
            return Seen(tokens_of([row]), _unless(len(read), len(given)), self._around)
        end, around = self._read_of(row, read)
        if not is_cut:
            end, self._around = len(read), around
        elif read != given[: len(read)]:
            # Halves of surrogate pairs that were put together have moved all places.
            end = None
        return Seen(tokens_of([row]), _unless(end, len(given)), around)

    def said(self, ids: Sequence[int]) -> str | None:
        """Return what tokens say; None if unknown."""
        return self.view.tokenizer.decoded(ids)

    def _read_of(self, row: Row, text: str) -> tuple[int | None, Around | None]:
        """Return the character behind the last one of the text that a row has a token of, and what the row
        has around the text; None where that is unknown.
        """
        whole, lead = self.view.whole(text)
        ends = self.view.tokenizer.ends(whole, tokens_of([row]))
        if ends is None:
            return None, None
        ids, places = ends
        place = _place(row.ids.tolist(), ids)
        if not place.kept:
            return None, None
        kept = place.kept
        if row.further and self.view.reach is not None:
            kept = self.view.reach(ids, kept)
        around = self._around_of(row, place, bisect_right(places, lead, hi=place.kept))
        if kept < len(ids) and not row.truncated:  # its last tokens are others, joined with what follows
            around = None
        if kept == len(ids):  # it is the query that was cut
            return len(text), around
        return min(max(places[kept - 1] - lead, 0), len(text)), around

    def _around_of(self, row: Row, place: _Place, lead: int) -> Around | None:
        """Return what a row has around a text.

        Args:
            lead: How many of its ids are those of what is put before the text.
        """
        ids = row.ids.tolist()
        before, after = self.said(ids[: place.start + lead]), self.said(ids[place.end :])
        return None if before is None or after is None else Around(before, after, self.apart)


def _unless(end: int | None, length: int) -> int | None:
    """Return where a text was cut; None if it was read to its end."""
    return None if end == length else end


def _place(row: Sequence[int], text: Sequence[int]) -> _Place:
    """Return where a row has the most of a text's ids, from the first on, in one run."""
    longest = _Place(0, 0, 0, 0)
    read, looked_for = np.array(row), np.array(text[: len(row) + _JOINED])
    for skipped in range(min(_JOINED + 1, len(text))):
        wanted = looked_for[skipped:]
        for at in np.flatnonzero(read == text[skipped]).tolist():
            part = read[at : at + len(wanted)]
            differing = np.flatnonzero(part != wanted[: len(part)])
            run = int(differing[0]) if len(differing) else len(part)
            # The query may have the same words: the text comes after it.
            if (skipped + run, -skipped) >= (longest.kept, -longest.skipped):
                longest = _Place(max(at - skipped, 0), at + run, skipped + run, skipped)
        if longest.kept > _JOINED:
            break
    return longest
