"""What is remembered of answers, so that a click can be counted: the places of what they have shown.

Of each document two digests are kept under a key that ends with the process, one of its id and one of its
index and id, and its places before and after. There is no query, no caller and no id, and none of it is
written anywhere. Everything is bounded: the number of searches, their bytes, and how long they are kept.
"""

import secrets
import time
from array import array
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Final, Literal, NamedTuple, Protocol

from rerank_proxy.online.draws import Mode
from rerank_proxy.online.search_ids import Foreign, SearchIds
from rerank_proxy.online.team_draft import Team

MOST_SHOWN: Final = 1000
"""Documents of one answer that are remembered: those at its top."""

_DIGEST: Final = 8
_TEAMS: Final[Mapping[Team | None, int]] = {None: 0, "own": 1, "other": 2}
_OF_SEARCH: Final = 1500
"""Bytes that a search takes besides its documents, and besides the names of its endpoint and model."""
_OF_DOCUMENT: Final = 28

ClickOutcome = Literal["counted", "duplicate", "not_shown", "late", Foreign]
"""What becomes of a click: it counts; the document was clicked before; the answer did not show it; the search
is not remembered any more; or as `Foreign` has it."""

Decision = Literal["win", "tie", "loss"]
"""What an interleaved search says of the reranker: its team has more clicks, as many, or fewer."""


class Compared(NamedTuple):
    """What a search compares.

    Attributes:
        against: The endpoint whose order the reranker's is interleaved with; None for the first stage.
    """

    mode: Mode
    endpoint: str
    model: str
    against: str | None = None


@dataclass(frozen=True, slots=True)
class Shown:
    """A document of an answer.

    Attributes:
        before, after: Its places in the window's first-stage order and in the reranker's, from 1; 0 where it
            is in none, or where that is not known yet.
        team: The team that put it there, in an interleaved answer.
    """

    index: str
    id: str
    before: int
    after: int = 0
    team: Team | None = None


@dataclass(frozen=True, slots=True)
class Clicked:
    """A document that was clicked; None for an index that is not told."""

    id: str
    index: str | None = None


class Counts(Protocol):
    """Hears what clicks come to. Counters rise and never fall."""

    def clicks(self, outcome: ClickOutcome, number: int) -> None:
        """Count clicks by what became of them."""

    def first_click(self, compared: Compared) -> None:
        """Count a search of which a document was clicked."""

    def nearer(self, compared: Compared, before: float, after: float) -> None:
        """Add to the sums of reciprocal ranks, of each search that of its best clicked document."""

    def decided(self, compared: Compared, decision: Decision) -> None:
        """Count what the clicks of an interleaved search came to."""


@dataclass(slots=True)
class _Search:
    """A search that is remembered.

    Attributes:
        began: When, on the clock of the memory.
        ids, names: The digests of its documents, one after the other, in the order in which they are shown.
        is_scored: Whether the places after are known.
        clicked: A bit for each document.
        best: The reciprocal ranks, before and after, that were counted.
    """

    compared: Compared
    began: float
    ids: bytes
    names: bytes
    before: "array[int]"
    after: "array[int]"
    teams: bytes
    is_scored: bool
    clicked: int = 0
    best: tuple[float, float] = (0.0, 0.0)
    is_told: bool = False

    def places(self) -> Iterator[int]:
        """Yield which documents were clicked, from 0."""
        left = self.clicked
        while left:
            yield (left & -left).bit_length() - 1
            left &= left - 1

    @property
    def size(self) -> int:
        """The bytes that it counts as."""
        names = sum(len(each.encode("utf-8", "surrogatepass")) for each in self.compared if each is not None)
        return _OF_SEARCH + names + _OF_DOCUMENT * len(self.before)


class ClickMemory:
    """Remembers searches until they are too old, or make room for others.

    Args:
        clock: In seconds.
    """

    def __init__(
        self,
        counts: Counts,
        *,
        max_searches: int,
        max_bytes: int,
        keep_s: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._counts = counts
        self._clock = clock
        key = secrets.token_bytes(32)
        self._of_id: Final = blake2b(key=key, person=b"id", digest_size=_DIGEST)
        self._of_both: Final = blake2b(key=key, person=b"index and id", digest_size=_DIGEST)
        self._ids = SearchIds()
        self._searches: OrderedDict[str, _Search] = OrderedDict()
        self._bytes = 0
        self.use(max_searches=max_searches, max_bytes=max_bytes, keep_s=keep_s)

    def use(self, *, max_searches: int, max_bytes: int, keep_s: float) -> None:
        """Use other bounds; what is beyond them is forgotten now."""
        self._max_searches = max_searches
        self._max_bytes = max_bytes
        self._keep_s = keep_s
        self.tidy()

    def __len__(self) -> int:
        return len(self._searches)

    @property
    def size_bytes(self) -> int:
        """The bytes that the remembered searches count as."""
        return self._bytes

    def remember(
        self, compared: Compared, shown: Sequence[Shown], *, is_scored: bool = True, id_: str | None = None
    ) -> str | None:
        """Remember a search.

        Args:
            shown: The documents of its answer, in their order.
            is_scored: Whether their places after are known; if not, `scored` tells them.
            id_: One of `new_id`, that its client has been told.

        Returns:
            Its id; None if there is nothing to click on, or no room for it.
        """
        shown = shown[:MOST_SHOWN]
        if not shown:
            return None
        search = _Search(
            compared,
            self._clock(),
            b"".join(self._digest(doc.id) for doc in shown),
            b"".join(self._digest(doc.id, doc.index) for doc in shown),
            array("I", [doc.before for doc in shown]),
            array("I", [doc.after for doc in shown]),
            bytes(_TEAMS[doc.team] for doc in shown),
            is_scored,
        )
        if search.size > self._max_bytes:
            return None
        id_ = id_ or self.new_id()
        self._searches[id_] = search
        self._bytes += search.size
        self.tidy()
        return id_

    def new_id(self) -> str:
        """Return an id for a search that will be remembered later."""
        return self._ids.new()

    def scored(self, id_: str, model: str, after: Sequence[int]) -> None:
        """Tell the places after of a search's documents, as it was remembered; 0 for those without.

        What was clicked meanwhile counts now.
        """
        search = self._searches.get(id_)
        if search is None or search.is_scored:
            return
        self._bytes -= search.size
        search.compared = search.compared._replace(model=model)
        search.after = array("I", after[: len(search.before)])
        search.is_scored = True
        self._bytes += search.size
        self._count(search, [*search.places()])
        self.tidy()

    def forget(self, id_: str) -> None:
        """Forget a search of which nothing more will be known."""
        search = self._searches.pop(id_, None)
        if search is not None:
            self._bytes -= search.size
            self._decide(search)

    def forget_endpoint(self, endpoint: str) -> None:
        """Forget the searches that compare an endpoint, which is deleted."""
        gone = [id_ for id_, each in self._searches.items() if endpoint in _endpoints(each.compared)]
        for id_ in gone:
            self.forget(id_)

    def clear(self) -> None:
        """Forget all."""
        for id_ in [*self._searches]:
            self.forget(id_)

    def click(self, id_: str, documents: Iterable[Clicked]) -> list[ClickOutcome]:
        """Count the documents of a search that were clicked, each once. Return what became of each."""
        self.tidy()
        outcomes = [*self._outcomes(id_, documents)]
        for outcome in dict.fromkeys(outcomes):
            self._counts.clicks(outcome, outcomes.count(outcome))
        return outcomes

    def _outcomes(self, id_: str, documents: Iterable[Clicked]) -> Iterator[ClickOutcome]:
        search = self._searches.get(id_)
        if search is None:
            foreign = self._ids.check(id_)
            yield from (foreign or "late" for _ in documents)
            return
        new: list[int] = []
        for document in documents:
            place = self._place(search, document)
            if place is None:
                yield "not_shown"
            elif search.clicked >> place & 1:
                yield "duplicate"
            else:
                search.clicked |= 1 << place
                new.append(place)
                yield "counted"
        self._count(search, new)

    def tidy(self) -> float | None:
        """Forget what is too old or too much, the oldest first.

        Returns:
            The seconds after which the oldest that is left will be too old; None if none is.
        """
        too_old = self._clock() - self._keep_s
        while self._searches:
            oldest, search = next(iter(self._searches.items()))
            is_too_much = len(self._searches) > self._max_searches or self._bytes > self._max_bytes
            if search.began > too_old and not is_too_much:
                return search.began - too_old
            self.forget(oldest)
        return None

    def _count(self, search: _Search, clicked: Sequence[int]) -> None:
        """Count what further clicks of a search have come to.

        Args:
            clicked: Their documents, from 0.
        """
        if not clicked or not search.is_scored:
            return
        if not search.is_told:
            search.is_told = True
            self._counts.first_click(search.compared)
        best = (
            max(search.best[0], *(_reciprocal(search.before[at]) for at in clicked)),
            max(search.best[1], *(_reciprocal(search.after[at]) for at in clicked)),
        )
        gained = best[0] - search.best[0], best[1] - search.best[1]
        if any(gained):
            self._counts.nearer(search.compared, *gained)
        search.best = best

    def _decide(self, search: _Search) -> None:
        """Count what the clicks of an interleaved search say, now that there will be no more."""
        if search.compared.mode != "interleaved" or not search.clicked:
            return
        teams = [search.teams[at] for at in search.places()]
        lead = teams.count(_TEAMS["own"]) - teams.count(_TEAMS["other"])
        self._counts.decided(search.compared, "win" if lead > 0 else "loss" if lead < 0 else "tie")

    def _place(self, search: _Search, clicked: Clicked) -> int | None:
        """Return where a document is shown, from 0; of several of the same id the first."""
        digests = search.ids if clicked.index is None else search.names
        wanted = self._digest(clicked.id, clicked.index)
        at = digests.find(wanted)
        while at >= 0 and at % _DIGEST:
            at = digests.find(wanted, at + 1)
        return None if at < 0 else at // _DIGEST

    def _digest(self, id_: str, index: str | None = None) -> bytes:
        """Return the digest of a document by its id, or by its index and id."""
        digest = (self._of_id if index is None else self._of_both).copy()
        named = id_ if index is None else f"{index}/{id_}"  # no name of an index has a slash
        digest.update(named.encode("utf-8", "surrogatepass"))
        return digest.digest()


def _reciprocal(place: int) -> float:
    return 1 / place if place else 0.0


def _endpoints(compared: Compared) -> tuple[str | None, ...]:
    return compared.endpoint, compared.against
