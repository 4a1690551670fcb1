"""A loaded model's time in memory: what uses it, and when it is gone."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rerank_proxy.engine.batching.jobs import Lane
from rerank_proxy.engine.loading.loaded_model import LoadedModel
from rerank_proxy.engine.model_memory import Share


class Residence:
    """A loaded model, its lane, and its share of the memory. Belongs to the event loop.

    Args:
        on_gone: Called once, when the model is to leave and nothing uses it any more.
    """

    def __init__(self, model: LoadedModel, lane: Lane, share: Share, on_gone: Callable[[], None]) -> None:
        self.model = model
        self.lane = lane
        self._share = share
        self._share.serves = True
        self._on_gone = on_gone
        self._uses = 0
        self.was_used = False

    @contextmanager
    def in_use(self) -> Iterator[None]:
        """Keep the model in memory during a call."""
        self._uses += 1
        self.was_used = True
        try:
            yield
        finally:
            self._uses -= 1
            self._end_if_unused()

    @property
    def size_bytes(self) -> int:
        """The memory that it is counted with."""
        return self._share.size_bytes

    def leave(self) -> None:
        """Give the model's memory back as soon as nothing uses it. Calls under way go on."""
        if not self._share.leaves:
            self._share.leaves = True
            self._end_if_unused()

    def _end_if_unused(self) -> None:
        if self._share.leaves and self._uses == 0:
            self._share.give_back()
            self._on_gone()
