"""Guess how many tokens texts have before they are tokenised, to refuse a call that cannot be done in time.

The guess is rather too low: who is refused would have been too late. Once some texts of a call are tokenised,
what is guessed for its others follows them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from rerank_proxy.engine.batching.cache import OutputCache
from rerank_proxy.engine.batching.jobs import Lane
from rerank_proxy.engine.batching.scheduler import Scheduler
from rerank_proxy.engine.encoding.inputs import Inputs
from rerank_proxy.engine.loading.loaded_model import LoadedModel

CHARACTERS_PER_TOKEN: Final = 8
"""More than the tokens of most texts have; English has some 4.5."""


@dataclass(slots=True)
class CallSize:
    """What a call of several portions asks of the device.

    Attributes:
        guessed: Tokens that its portions to come probably have at least.
        ratio: How many tokens there were so far for each guessed one.
    """

    guessed: float = 0.0
    ratio: float = 1.0

    def later_tokens(self, guessed: float, tokens: int) -> int:
        """Return the tokens to come once a portion is tokenised.

        Args:
            guessed: What was guessed for the portion.
            tokens: What it has.
        """
        self.guessed = max(0.0, self.guessed - guessed)
        if guessed:
            self.ratio = tokens / guessed
        return int(self.guessed * self.ratio)


class Guesses:
    """Guesses what calls ask of the device."""

    def __init__(self, cache: OutputCache, scheduler: Scheduler) -> None:
        self._cache = cache
        self._scheduler = scheduler

    @staticmethod
    def guess(model: LoadedModel, query: str, texts: Sequence[str]) -> float:
        """Return the tokens that the texts probably have at least: none if the model has no known limit."""
        limit = model.info["max_length"]
        longest = int(limit) * model.most_windows if limit.isdigit() else 0
        beside = 0 if model.scorer.texts_at else len(query)
        return sum(min(longest, 1 + (beside + len(text)) / CHARACTERS_PER_TOKEN) for text in texts)

    def guess_missing(self, model: LoadedModel, lane: Lane, inputs: Inputs) -> float:
        """Return the tokens of those whose outputs are neither remembered nor under way."""
        texts = dict(zip(inputs.text_keys, inputs.texts, strict=True))
        missing = [text for key, text in texts.items() if not self._is_known(lane, key)]
        return self.guess(model, inputs.query, missing)

    def _is_known(self, lane: Lane, key: bytes) -> bool:
        return self._scheduler.has(lane, key) or self._cache.get(key) is not None
