"""Where the rows of a batch lie, and what depends on their lengths alone."""

from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from rerank_proxy.engine.backends.device import to_device
from rerank_proxy.engine.rows import Batch

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Group:
    """Rows of equal length that lie side by side."""

    start: int
    """The first token."""
    rows: int
    length: int
    """Tokens of each row."""

    @property
    def tokens(self) -> slice:
        """The tokens of all its rows."""
        return slice(self.start, self.start + self.rows * self.length)

    def row(self, at: int) -> "Group":
        """Return one of its rows as a group."""
        return Group(self.start + at * self.length, 1, self.length)


@dataclass(frozen=True, slots=True, eq=False)
class Layout:
    """The rows of a batch, shortest first, so that those of equal length are side by side."""

    batch: Batch
    """The rows in this order."""
    order: NDArray[np.int64]
    """Shape (rows,): which row of the batch as it was given lies at each place."""
    groups: Sequence[Group]
    device: torch.device
    _shared: dict[Hashable, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, batch: Batch, device: torch.device) -> "Layout":
        """Sort the rows of a batch by length."""
        order = np.argsort(batch.lengths, kind="stable")
        if (np.diff(order) != 1).any():
            batch = _reordered(batch, order)
        return cls(batch, order, list(_groups(batch.lengths.tolist())), device)

    @property
    def at_once(self) -> bool:
        """Whether all rows attend at once, which suits GPUs."""
        return self.device.type != "cpu"

    @property
    def longest(self) -> int:
        """Tokens of the longest row."""
        return self.groups[-1].length

    def once(self, key: Hashable, make: Callable[[], _T]) -> _T:
        """Return what `make` returned first: layers share what does not depend on them."""
        if key not in self._shared:
            self._shared[key] = make()
        made: _T = self._shared[key]
        return made

    @property
    def firsts(self) -> Tensor:
        """The first token of each row, shape (rows,)."""
        return self.once("firsts", lambda: self.tensor(self._starts()))

    def positions(self) -> NDArray[np.int64]:
        """Return the position of each token in its row from zero, shape (tokens,)."""
        return np.arange(self.batch.tokens) - np.repeat(self._starts(), self.batch.lengths)

    def positions_behind(self, padding_id: int) -> NDArray[np.int64]:
        """Return positions as RoBERTa and similar models count them: from behind the padding id.

        Tokens that have this id, which get into a row if a text spells the token out, are not counted.
        """
        starts = self._starts()
        counted = (self.batch.ids != padding_id).astype(np.int64)
        before = np.concatenate([[0], np.cumsum(counted)])
        in_row = before[1:] - np.repeat(before[starts], self.batch.lengths)
        positions: NDArray[np.int64] = in_row * counted + padding_id
        return positions

    def tensor(self, array: NDArray[Any]) -> Tensor:
        """Put an array on the device."""
        return to_device(self.device, array)

    def padded(self, hidden: Tensor) -> tuple[Tensor, Tensor]:
        """Return shape (rows, tokens, hidden), and the mask (rows, tokens) of what is not padding."""
        lengths = self.batch.lengths.tolist()
        padded = nn.utils.rnn.pad_sequence(list(torch.split(hidden, lengths)), batch_first=True)
        counts = self.tensor(self.batch.lengths)
        return padded, torch.arange(padded.shape[1], device=self.device) < counts[:, None]

    def means(self, hidden: Tensor) -> Tensor:
        """Return the mean of each row's tokens, (tokens, hidden) → (rows, hidden)."""
        means = [hidden[each.tokens].view(each.rows, each.length, -1).mean(dim=1) for each in self.groups]
        return torch.cat(means)

    def as_given(self, outputs: NDArray[np.float32]) -> NDArray[np.float32]:
        """Put outputs, (rows, …), into the order of the batch as it was given."""
        values = np.empty_like(outputs)
        values[self.order] = outputs
        return values

    def tokens_as_given(self, hidden: Tensor) -> Tensor:
        """Put tokens, (tokens, …), into the order of the batch as it was given."""
        places = _tokens_of(self.batch.lengths, self._starts(), np.argsort(self.order))
        return hidden[self.tensor(places)]

    def _starts(self) -> NDArray[np.int64]:
        starts: NDArray[np.int64] = np.cumsum(self.batch.lengths) - self.batch.lengths
        return starts


def _reordered(batch: Batch, order: NDArray[np.int64]) -> Batch:
    starts = np.cumsum(batch.lengths) - batch.lengths
    tokens = _tokens_of(batch.lengths, starts, order)
    return Batch(batch.ids[tokens], batch.type_ids[tokens], batch.lengths[order])


def _tokens_of(
    lengths: NDArray[np.int64], starts: NDArray[np.int64], order: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Return where the tokens of rows lie, the rows taken in this order."""
    taken = lengths[order]
    moved = np.cumsum(taken) - taken
    tokens: NDArray[np.int64] = np.arange(taken.sum()) + np.repeat(starts[order] - moved, taken)
    return tokens


def _groups(lengths: Sequence[int]) -> Iterator[Group]:
    start = 0
    for length, equal in groupby(lengths):
        rows = sum(1 for _ in equal)
        yield Group(start, rows, length)
        start += rows * length
