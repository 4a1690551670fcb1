"""Clicks and trials in tests: what counts them, and the parts that they are made of."""

import time
from collections import Counter
from collections.abc import Callable
from typing import Any

from rerank_proxy.app.clicks import ClicksApi
from rerank_proxy.online.draws import Mode
from rerank_proxy.online.memory import ClickMemory, ClickOutcome, Compared, Decision
from rerank_proxy.search.trials import ShadowOutcome, Trials
from rerank_proxy.settings import OnlineSettings


class Counted:
    """Takes note of what is counted.

    Attributes:
        ranks: The sums of reciprocal ranks before and after, by what is compared.
    """

    def __init__(self) -> None:
        self.outcomes = Counter[ClickOutcome]()
        self.clicked = Counter[Compared]()
        self.ranks: dict[Compared, tuple[float, float]] = {}
        self.decisions = Counter[tuple[Compared, Decision]]()
        self.modes = Counter[Mode]()
        self.shadows = Counter[ShadowOutcome]()

    def clicks(self, outcome: ClickOutcome, number: int) -> None:
        self.outcomes[outcome] += number

    def first_click(self, compared: Compared) -> None:
        self.clicked[compared] += 1

    def nearer(self, compared: Compared, before: float, after: float) -> None:
        assert before >= 0
        assert after >= 0, "counters never fall"
        own = self.ranks.get(compared, (0.0, 0.0))
        self.ranks[compared] = own[0] + before, own[1] + after

    def decided(self, compared: Compared, decision: Decision) -> None:
        self.decisions[compared, decision] += 1

    def search(self, mode: Mode) -> None:
        self.modes[mode] += 1

    def shadow(self, outcome: ShadowOutcome) -> None:
        self.shadows[outcome] += 1


class Online:
    """Trials with a memory, as the application has them.

    Args:
        clock: That of the memory.
        settings: Those of the section.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic, **settings: Any) -> None:
        read = OnlineSettings.model_validate(settings)
        self.counted = Counted()
        self.memory = ClickMemory(
            self.counted,
            max_searches=read.max_searches,
            max_bytes=read.max_bytes,
            keep_s=read.keep_s,
            clock=clock,
        )
        self.trials = Trials(read, self.memory, self.counted)
        self.clicks = ClicksApi(self.memory, lambda: self.trials.is_on)
