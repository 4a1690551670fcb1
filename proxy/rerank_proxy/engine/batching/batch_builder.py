"""Which rows make up one batch: longest first, within the budget, and with little padding."""

from bisect import bisect_right
from math import ceil
from typing import Final

from rerank_proxy.engine.batching.jobs import Job, JobState, Lane, ScoringRequest, length

MAX_PADDING_RATIO: Final = 0.25
"""The most padding of a batch, relative to its padded size …"""

FREE_PADDING_RATIO: Final = 1 / 32
"""… unless it is less than this part of the budget: then another batch would cost more than the padding."""

USUAL_BATCHES: Final = 4
"""A request of at most so many whole batches is one of the usual size …"""

USUAL_RATIO: Final = 1 / 2
"""… whose batches are of this size, relative to the budget: it soon ends in any case."""

LEAST_RATIO: Final = 1 / 4
"""The least size of a batch of a large request. On CPUs smaller ones cost throughput: of short rows, 512
tokens took as long for each as 2048, and 5 % longer than 1024 (MiniLM-L6's shape)."""

SHARE: Final = 1 / 32
"""How much of a large request a batch of it may be: so much of its time may the next request have to wait."""

FEW_RATIO: Final = 1 / 8
"""A batch of several small requests that is larger than this, relative to the budget, takes no other one …"""

FEW_BATCHES: Final = 4
"""… if it has one in so many of their tokens."""


class BatchBuilder:
    """Collects the jobs of one batch.

    Args:
        limit_tokens: The batch is full as soon as it costs so much. The lane's budget is never exceeded.

    Attributes:
        jobs: Those that were taken, the longest of each request first.
        longest: Tokens of the longest one.
        tokens: Of all.
    """

    def __init__(self, lane: Lane, limit_tokens: int) -> None:
        self.jobs: list[Job] = []
        self.longest = 0
        self._padded = lane.backend.padded
        self._budget_tokens = lane.budget_tokens
        self._limit_tokens = min(limit_tokens, lane.budget_tokens)
        self.tokens = 0

    @property
    def cost_tokens(self) -> int:
        """The tokens that the batch costs: with padding where the backend pads."""
        return len(self.jobs) * self.longest if self._padded else self.tokens

    @property
    def full(self) -> bool:
        """Return whether the limit is reached."""
        return self.cost_tokens >= self._limit_tokens

    def take(self, request: ScoringRequest) -> list[Job]:
        """Take queued jobs of a request, longest first, until one does not fit. Return those taken."""
        taken: list[Job] = []
        queue = request.queue
        end = at = len(queue) if self._any_length else bisect_right(queue, self.longest, key=length)
        while at > 0:
            job = queue[at - 1]
            if job.state is JobState.QUEUED:
                if not self._add(job):
                    break
                job.state = JobState.TAKEN
                taken.append(job)
            at -= 1
        del queue[at:end]
        return taken

    @property
    def _any_length(self) -> bool:
        """Return whether a row may be longer than those already taken."""
        return not self._padded or not self.jobs

    def _add(self, job: Job) -> bool:
        """Add the job unless the batch would grow too large or too hollow. The first one always fits."""
        tokens = job.tokens
        if self.jobs and (self.full or not self._fits(tokens)):
            return False
        self.jobs.append(job)
        self.longest = max(self.longest, tokens)
        self.tokens += tokens
        return True

    def _fits(self, row_tokens: int) -> bool:
        tokens = self.tokens + row_tokens
        cost = (len(self.jobs) + 1) * max(self.longest, row_tokens) if self._padded else tokens
        padding = cost - tokens
        hollow = padding > MAX_PADDING_RATIO * cost and padding > FREE_PADDING_RATIO * self._budget_tokens
        return cost <= self._budget_tokens and not hollow


def limit_tokens(lane: Lane, size_tokens: int, side_by_side: int = 1) -> int:
    """Return how large a batch of a request with so many tokens is to be; its last row may exceed that.

    A batch cannot be interrupted. So those of a large request are a small part of it, and others soon have
    their turn; very small ones would cost throughput.

    Args:
        side_by_side: Batches that run at the same time. A request then takes less time, and others beside it
            may wait less: its batches are as much smaller, down to the usual size.
    """
    budget = lane.budget_tokens
    usual = ceil(USUAL_RATIO * budget)
    if size_tokens <= USUAL_BATCHES * budget:
        return usual
    part = int(SHARE * size_tokens)
    return max(ceil(LEAST_RATIO * budget), min(part, budget, max(usual, part // side_by_side)))


def enough_tokens(lane: Lane, waiting_tokens: int) -> int:
    """Return the size from which on a batch of small requests takes no other one, while a large one waits.

    All rows of a batch end together. So few requests run in several batches, one after the other: most of
    them end sooner, and the last hardly later. Where more wait, the batches are larger; and where all are
    small, throughput counts more.

    Args:
        waiting_tokens: Of the requests, all of which are to run before larger ones.
    """
    return max(ceil(FEW_RATIO * lane.budget_tokens), ceil(waiting_tokens / FEW_BATCHES))


def first_part(number: int) -> float:
    """Return the size of a request's first batch beside so many others, as a part of the usual one.

    It is 1, 1/2, 1/4, 3/4 …

    (The van der Corput sequence: they are spread evenly, however many there are.)
    """
    part, step = 0.0, 0.5
    while number:
        part += step * (number % 2)
        number, step = number // 2, step / 2
    return part or 1.0
