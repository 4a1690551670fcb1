"""Which upload gives its place to another when there are no more places. Pure logic."""

from collections import Counter
from collections.abc import Iterable
from typing import Protocol, TypeVar


class Place(Protocol):
    """What an upload's place is judged by.

    Attributes:
        owner: Tells its caller from others.
        active_at: When something of it came last, in seconds.
        busy: Whether something of it is being written just now.
    """

    owner: bytes
    active_at: float

    @property
    def busy(self) -> bool: ...


P = TypeVar("P", bound=Place)


def to_give_way(places: Iterable[P], caller: bytes, now: float, idle_s: float) -> P | None:
    """The upload that makes room for one of `caller`: the one that has been idle longest.

    One that is not idle gives way only to a caller who has none, and only if its own has several: so nothing
    that one caller does keeps another out.
    """
    places = list(places)
    owned = Counter(place.owner for place in places)
    quiet = sorted((place for place in places if not place.busy), key=lambda place: place.active_at)
    abandoned = [place for place in quiet if now - place.active_at >= idle_s]
    greedy = [place for place in quiet if owned[place.owner] > 1 and owned[caller] == 0]
    return next(iter([*abandoned, *greedy]), None)
