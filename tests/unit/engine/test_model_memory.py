"""Memory that models share, with models that are loaded and unloaded at once."""

import asyncio
from dataclasses import dataclass, field

from rerank_proxy.engine.model_memory import ModelMemory, Share


@dataclass(eq=False)
class Resident:
    """A model that no call uses."""

    name: str
    serving: list[Share] = field(default_factory=list)
    kept_loaded: bool = False
    evicted: int = 0

    @property
    def evictable(self) -> bool:
        return bool(self.serving)

    @property
    def need(self) -> tuple[bool, float]:
        return False, 0.0

    async def load(self, memory: ModelMemory) -> Share:
        share = await memory.take(self, 1, lambda: True)
        share.serves = True
        self.serving.append(share)
        return share

    def evict(self) -> None:
        self.evicted += 1
        share = self.serving.pop()
        share.leaves = True
        share.give_back()


async def test_a_model_that_is_loaded_again_is_unloaded_once() -> None:
    """Its successor's share is of no use to others until it serves."""
    memory = ModelMemory(2)
    model, other = Resident("model"), Resident("other")
    await model.load(memory)
    successor = await memory.take(model, 1, lambda: True)
    waiting = asyncio.create_task(memory.take(other, 2, lambda: True))
    await asyncio.sleep(0)
    assert (model.evicted, waiting.done()) == (1, False)
    successor.give_back()
    assert (await waiting).owner is other
