"""How long a model takes, as its batches have shown: seconds per token, and per batch."""

import threading
from typing import Final

_KEPT: Final = 0.95
"""The weight of what was known after one more batch: some twenty batches count."""

_ENOUGH: Final = 5
"""Batches after which the pace is known."""

_OUTLIER: Final = 4.0
"""How many times as long as expected a batch may count: a machine that stalled once is not that slow."""

_LEAST_SPREAD: Final = 0.01
"""The least variance of the sizes, relative to the square of their mean, that tells tokens from batches."""


class Pace:
    """A line through the times of the latest batches, fitted to them by least squares.

    Batches may be observed on any thread.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._batches = 0
        self._weight = self._tokens = self._seconds = self._tokens_squared = self._products = 0.0
        self._token_s = self._batch_s = 0.0

    @property
    def known(self) -> bool:
        """Return whether there were enough batches to predict others."""
        return self._batches >= _ENOUGH

    @property
    def token_s(self) -> float:
        """Seconds for each token of a batch."""
        return self._token_s

    def observe(self, tokens: int, seconds: float) -> None:
        """Learn from a batch.

        Args:
            tokens: Padding included.
        """
        with self._lock:
            if self.known:
                seconds = min(seconds, _OUTLIER * self.seconds(tokens, tokens))
            self._batches += 1
            self._weight = _KEPT * self._weight + 1
            self._tokens = _KEPT * self._tokens + tokens
            self._seconds = _KEPT * self._seconds + seconds
            self._tokens_squared = _KEPT * self._tokens_squared + tokens * tokens
            self._products = _KEPT * self._products + tokens * seconds
            self._fit()

    def seconds(self, tokens: float, batch_tokens: float) -> float:
        """Return how long so many tokens take, in batches of `batch_tokens`."""
        return tokens * self._token_s + tokens / batch_tokens * self._batch_s

    def _fit(self) -> None:
        mean_tokens, mean_s = self._tokens / self._weight, self._seconds / self._weight
        variance = self._tokens_squared / self._weight - mean_tokens**2
        self._token_s, self._batch_s = mean_s / mean_tokens, 0.0
        if variance > _LEAST_SPREAD * mean_tokens**2:
            slope = (self._products / self._weight - mean_tokens * mean_s) / variance
            # Neither a token nor a batch takes less than no time, whatever the noise says.
            self._token_s = min(max(slope, 0.0), self._token_s)
            self._batch_s = mean_s - self._token_s * mean_tokens
