"""How much of what is limited one caller may hold, so that there is room for others."""

from collections import Counter
from collections.abc import Iterable
from enum import Enum


class Refusal(Enum):
    """Whose limit was reached."""

    OF_ALL = "all callers together hold as much as they may"
    OF_CALLER = "one caller holds as much as it may while others hold anything"


class Room:
    """Counts what callers hold.

    While others hold anything, a caller may hold a share of the capacity. One that is alone may hold all, and
    of that no more than its share counts against others: they find room in any case. So all hold at most
    twice the capacity less one share.

    Args:
        capacity: The most that all may hold.
        share: The part of it that one may hold while others hold anything. 1: callers are not told apart.

    Attributes:
        held: What all hold.
        limit: What one caller may hold while others hold anything.
    """

    def __init__(self, capacity: int, share: float = 1.0) -> None:
        self.capacity = capacity
        self.share = share
        self.held = 0
        self.limit = capacity if share >= 1 else int(capacity * share)
        self._counted = 0
        self._by_caller: dict[bytes, int] = {}

    def held_by(self, caller: bytes) -> int:
        return self._by_caller.get(caller, 0)

    def refusal(self, caller: bytes, amount: int) -> Refusal | None:
        """Return why there is no room for so much more of a caller; None if there is."""
        held = self.held_by(caller)
        if self.share < 1 and self.held > held and held + amount > self.limit:
            return Refusal.OF_CALLER
        of_others = self._counted - min(held, self.limit)
        return Refusal.OF_ALL if of_others + held + amount > self.capacity else None

    def add_all(self, amounts: Iterable[tuple[bytes, int]]) -> int:
        """Count what each of the callers holds more. Return the sum."""
        by_caller: Counter[bytes] = Counter()
        for caller, amount in amounts:
            by_caller[caller] += amount
        for caller, amount in by_caller.items():
            self.add(caller, amount)
        return by_caller.total()

    def add(self, caller: bytes, amount: int) -> None:
        """Count so much more of a caller, or less if it is negative."""
        before = self.held_by(caller)
        after = before + amount
        self.held += amount
        self._counted += min(after, self.limit) - min(before, self.limit)
        if after:
            self._by_caller[caller] = after
        else:
            self._by_caller.pop(caller, None)
