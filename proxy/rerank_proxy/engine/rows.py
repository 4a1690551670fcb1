"""What passes between the stages: tokenised inputs (rows), batches of them, and outputs."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

import msgspec
import numpy as np
from msgspec.structs import replace
from numpy.typing import NDArray

UNSEEN: Final = 1
"""A mark of a token: no token attends to it, although it attends to those that have no such mark."""

UNSCORED: Final = 2
"""A mark of a token: it has no vector in the output."""

STATIC: Final = 4
"""A mark of a token: it stands for itself, with a weight that is always the same, and no network sees it."""

Values = NDArray[np.float32] | list[NDArray[np.float32]]
"""What a batch gives: shape (rows, outputs), or one array for each row where their shapes differ."""


class Row(msgspec.Struct, frozen=True, eq=False):
    """One input of the model with its special tokens: a pair, or for a bi-encoder a single text."""

    ids: NDArray[np.int32]
    """Token ids, shape (tokens,)."""
    type_ids: NDArray[np.uint8]
    """Segment of each token, shape (tokens,)."""
    truncated: bool
    marks: NDArray[np.uint8] | None = None
    """The sum of the marks of each token, shape (tokens,); None for a model that knows none."""
    further: "tuple[Row, ...]" = ()
    """The other windows of a text that is divided, of which this is the first."""

    @property
    def windows(self) -> "tuple[Row, ...]":
        """All windows of the text; this row alone if it is not divided."""
        return (replace(self, further=()), *self.further) if self.further else (self,)

    def __len__(self) -> int:
        return len(self.ids)


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """The token ids of rows that run together, laid end to end without padding.

    Which rows do is decided in `batching/batch_builder.py`.
    """

    ids: NDArray[np.int64]
    """Shape (tokens,)."""
    type_ids: NDArray[np.int64]
    """Shape (tokens,)."""
    lengths: NDArray[np.int64]
    """Tokens of each row, shape (rows,). Their sum is `tokens`."""
    marks: NDArray[np.uint8] | None = None
    """Shape (tokens,), or None as those of the rows."""

    @classmethod
    def of(cls, rows: Sequence[Row]) -> "Batch":
        """Lay rows end to end."""
        marks = [row.marks for row in rows if row.marks is not None]
        if marks and len(marks) < len(rows):
            marks = [np.zeros(len(row), np.uint8) if row.marks is None else row.marks for row in rows]
        return cls(
            np.concatenate([row.ids for row in rows], dtype=np.int64),
            np.concatenate([row.type_ids for row in rows], dtype=np.int64),
            np.fromiter(map(len, rows), np.int64, len(rows)),
            np.concatenate(marks) if marks else None,
        )

    def __len__(self) -> int:
        return len(self.lengths)

    @property
    def tokens(self) -> int:
        """Tokens without padding."""
        return len(self.ids)

    @property
    def padded_tokens(self) -> int:
        """Tokens if each row is padded to the longest one."""
        return int(self.lengths.max(initial=0)) * len(self)

    def split(self) -> tuple["Batch", "Batch"]:
        """Return the first and the second half of the rows."""
        half = len(self) // 2
        first = np.arange(len(self)) < half
        return self.chosen(first), self.chosen(~first)

    def counts(self, token_id: int) -> NDArray[np.int64]:
        """Return how often each row has a token, shape (rows,)."""
        return self.sums(self.ids == token_id)

    def sums(self, tokens: NDArray[np.bool_]) -> NDArray[np.int64]:
        """Return for how many tokens of each row `tokens`, shape (tokens,), is true; shape (rows,)."""
        ends = np.cumsum(self.lengths)
        before = np.concatenate([[0], np.cumsum(tokens)])
        counts: NDArray[np.int64] = before[ends] - before[ends - self.lengths]
        return counts

    def marked(self, mark: int) -> NDArray[np.bool_]:
        """Return which tokens have a mark, shape (tokens,)."""
        if self.marks is None:
            return np.zeros(self.tokens, np.bool_)
        marked: NDArray[np.bool_] = (self.marks & mark) != 0
        return marked

    def chosen(self, rows: NDArray[np.bool_]) -> "Batch":
        """Return a batch of the rows where `rows`, shape (rows,), is true."""
        tokens = np.repeat(rows, self.lengths)
        marks = None if self.marks is None else self.marks[tokens]
        return Batch(self.ids[tokens], self.type_ids[tokens], self.lengths[rows], marks)

    def padded(self, pad_id: int) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.bool_]]:
        """Return ids, segments and mask of shape (rows, tokens of the longest row), padded on the right."""
        longest = int(self.lengths.max(initial=0))
        mask = np.arange(longest) < self.lengths[:, None]
        ids = np.full(mask.shape, pad_id, np.int64)
        ids[mask] = self.ids
        type_ids = np.zeros(mask.shape, np.int64)
        type_ids[mask] = self.type_ids
        return ids, type_ids, mask


def tokens_of(rows: Iterable[Row]) -> int:
    """Return the tokens of rows with all of their windows."""
    return sum(len(window) for row in rows for window in (row, *row.further))


class Output(NamedTuple):
    """The output for one input.

    float32 of shape (1,) for a logit, (dimensions,) for an embedding, (vectors, dimensions) for a vector of
    each token, (terms, 2) for terms with their weights. Of a text that is divided, the logits, embeddings or
    weights of its windows: (windows, …).
    """

    values: NDArray[np.float32]
    truncated: bool
