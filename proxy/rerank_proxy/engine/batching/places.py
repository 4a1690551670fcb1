"""Which worker runs a batch, how large it is, and with how many threads. Pure logic on one thread.

A batch runs with a worker's share of the CPU threads: batches side by side use the cores better than the
threads of one operation, which wait for each other. A batch whose lane has nothing else to run, while all
other workers are idle, gets all threads, if it takes long enough to pay for them.
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from math import ceil
from typing import Final

from rerank_proxy.engine.batching.jobs import Job, Lane

_BATCHES_AHEAD: Final = 1
"""On a GPU a batch waits behind the one that runs: it is done sooner than the event loop gives the next. On
CPUs batches take long beside that, and a request that comes then would have to wait for both."""

_SMALLEST_TOKENS: Final = 128
"""Fewer tokens are not worth a worker of their own."""

_LONG_S: Final = 0.1
"""The predicted seconds of a batch that is worth all threads."""


@dataclass(frozen=True, slots=True, eq=False)
class Placed:
    """A batch at a place."""

    place: int
    lane: Lane
    tokens: int
    threads: int
    end_tokens: int
    """When it will probably end, on a clock that tells how many tokens each place could have run."""


class Places:
    """The places of workers, and the batches there.

    Args:
        count: Of places.
        threads: CPU threads of all together.
    """

    def __init__(self, count: int = 1, threads: int = 1) -> None:
        self._threads = threads
        self._shares = [max(1, threads // count + (at < threads % count)) for at in range(count)]
        self._batches: list[list[Placed]] = [[] for _ in range(count)]
        self._clock_tokens = 0
        self._empty: set[int] = set()
        self._other_work = [0] * count

    def __len__(self) -> int:
        return len(self._shares)

    @property
    def empty(self) -> int:
        """Places without a worker."""
        return len(self._empty)

    def leave(self, place: int) -> None:
        """Give a place that has no worker no batches."""
        self._empty.add(place)

    def fill(self, place: int) -> None:
        """Give a place batches again."""
        self._empty.discard(place)

    @contextmanager
    def kept_free(self, place: int) -> Iterator[None]:
        """Give a place no batches within: its worker does something else."""
        self._other_work[place] += 1
        try:
            yield
        finally:
            self._other_work[place] -= 1

    def budget_tokens(self, lane: Lane, waiting_tokens: int) -> int:
        """Return the tokens of a lane's next batch; 0 where none may begin now.

        What waits and what is under way is spread evenly over the workers, in as few rounds of batches as the
        budget allows: a call of ten texts runs on two workers, and a call of fifty leaves neither idle at its
        end.

        Args:
            waiting_tokens: Of all lanes.
        """
        if self._best(lane) is None:
            return 0
        workers, budget = self._most_workers(lane), lane.budget_tokens
        if workers == 1:
            return budget
        tokens = waiting_tokens + sum(map(self._tokens, range(len(self))))
        rounds = max(1, ceil(tokens / (workers * budget)))
        return min(budget, max(_SMALLEST_TOKENS, ceil(tokens / (workers * rounds))))

    def part_tokens(self, lane: Lane, tokens: int) -> int:
        """Return how many of a lane's tokens are to run at the next place, so that all soon have run.

        The others follow where batches end meanwhile: the sooner they do, the smaller is this part.

        Args:
            tokens: Of requests that are to run before anything else.
        """
        level, tokens_before, places = float(tokens), 0, 1
        for tokens_left in self._tokens_left(self._most_workers(lane) - 1):
            if tokens_left >= level:
                break
            places, tokens_before = places + 1, tokens_before + tokens_left
            level = (tokens + tokens_before) / places
        return ceil(level)

    def put(self, jobs: Sequence[Job], waiting_tokens: int) -> Placed:
        """Give a batch of a lane for which `budget_tokens` is not 0 to the worker with the least to do.

        Args:
            waiting_tokens: That are left, of all lanes.
        """
        lane = jobs[0].lane
        tokens = _cost_tokens(lane, jobs)
        place = self._best(lane)
        assert place is not None
        threads = self._use_threads(place, lane, tokens, waiting_tokens)
        placed = Placed(place, lane, tokens, threads, self._clock_tokens + self._tokens(place) + tokens)
        self._batches[place].append(placed)
        return placed

    def end(self, placed: Placed) -> None:
        """Take note that a batch has ended."""
        self._batches[placed.place].remove(placed)
        self._clock_tokens = max(self._clock_tokens, placed.end_tokens)

    def _tokens_left(self, others: int) -> list[int]:
        """Return the tokens that so many other places have probably left to run, the fewest first."""
        ends = (batches[-1].end_tokens for batches in self._batches if batches)
        left = sorted(max(0, end - self._clock_tokens) for end in ends)[:others]
        return [0] * (others - len(left)) + left

    def _best(self, lane: Lane) -> int | None:
        """Return the place with the least to do that may take a batch of the lane.

        The first place, where models are warmed up and those that need it run, is the last choice.
        """
        open_places = [at for at in range(len(self)) if self._takes(at, lane)]
        return min(open_places, key=lambda at: (self._tokens(at), at == 0), default=None)

    def _takes(self, at: int, lane: Lane) -> bool:
        batches = self._batches[at]
        if (
            at in self._empty
            or self._other_work[at]
            or len(batches) > (_BATCHES_AHEAD if lane.backend.serial else 0)
            or lane.at(at) is None
        ):
            return False
        # What waits behind one very long row could run elsewhere soon.
        if len(self) > 1 and any(each.tokens > each.lane.budget_tokens for each in batches):
            return False
        if lane.threads is None or any(each.lane is lane for each in batches):
            return True
        used = self._lane_threads(lane)
        return used == 0 or used + self._shares[at] <= lane.threads

    def _lane_threads(self, lane: Lane) -> int:
        """Return the threads of the places that a lane is using."""
        used = (
            max((each.threads for each in batches if each.lane is lane), default=0)
            for batches in self._batches
        )
        return sum(used)

    def _most_workers(self, lane: Lane) -> int:
        """Return how many workers a lane may use."""
        filled = max(1, lane.most_workers(len(self) - len(self._empty)))
        if lane.backend.serial:
            return filled
        return filled if lane.threads is None else max(1, min(filled, lane.threads // self._shares[-1]))

    def _use_threads(self, place: int, lane: Lane, tokens: int, waiting_tokens: int) -> int:
        others = (each for at, each in enumerate(self._batches) if at != place)
        if lane.backend.serial:
            alone = not any(others)
        else:
            alone = not any(others) and not waiting_tokens and tokens * lane.pace_s >= _LONG_S
        threads = self._threads if alone else self._shares[place]
        return threads if lane.threads is None else max(1, min(threads, lane.threads))

    def _tokens(self, at: int) -> int:
        return sum(each.tokens for each in self._batches[at])


def _cost_tokens(lane: Lane, jobs: Iterable[Job]) -> int:
    lengths = [job.tokens for job in jobs]
    return max(lengths) * len(lengths) if lane.backend.padded else sum(lengths)
