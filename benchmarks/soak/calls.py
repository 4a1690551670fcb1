"""What one call of a soak run is, and whether its end fits what was done to it. Pure."""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from benchmarks.soak.builds import BROKEN, NO_TOKEN, STRICT
from benchmarks.soak.faults import EXIT, POISON
from benchmarks.soak.models import GUESTS, LOSING, PLUGIN, QUERIES, World
from rerank_proxy.engine import (
    DeadlineExceededError,
    DeadlineUnreachableError,
    EngineClosedError,
    InferenceError,
    ModelFailedError,
    QueueFullError,
    Scores,
    UnknownModelError,
)

TOLERANCE: Final = 1e-4
"""The largest difference that is rounding: what runs beside a text changes the order of sums."""

_MOST_TEXTS: Final = 60
_LONGEST_DEADLINE_S: Final = 0.05
_LATEST_CANCEL_S: Final = 0.03


@dataclass(frozen=True, slots=True)
class Call:
    """A call, and what is done to it.

    Attributes:
        deadline_s: Seconds until its deadline; None for none.
        cancel_s: Seconds until it is cancelled; None if it is not.
        poisoned: One of its texts makes backend or tokenizer fail.
    """

    model: str
    query: str
    texts: Sequence[str]
    deadline_s: float | None = None
    cancel_s: float | None = None
    poisoned: bool = False


@dataclass(frozen=True, slots=True)
class Around:
    """What happened around a call.

    Attributes:
        removed: Its model was not there when it began, or was removed meanwhile.
        closed: The engine was closed, or about to be.
        crowded: Other calls were under way.
        lost: A worker was lost with a batch of its model.
        stands_for: What its model was, where that varies.
    """

    removed: bool = False
    closed: bool = False
    crowded: bool = False
    lost: bool = False
    stands_for: str | None = None


def draw(rng: random.Random, world: World) -> Call:
    """Draw the next call of a caller."""
    model = rng.choice(world.callable)
    texts = rng.choices(world.texts, k=rng.choice([0, 1, 2, 5, 20, _MOST_TEXTS]))
    query = rng.choice(QUERIES)
    deadline_s = rng.uniform(0, _LONGEST_DEADLINE_S) if rng.random() < 0.15 else None
    cancel_s = rng.uniform(0, _LATEST_CANCEL_S) if rng.random() < 0.15 else None
    poison = {PLUGIN: POISON, LOSING: (EXIT,), STRICT: (NO_TOKEN,)}.get(model, ())
    poisoned = bool(poison) and rng.random() < 0.15
    if poisoned:
        texts.insert(rng.randint(0, len(texts)), rng.choice(poison))
    return Call(model, query, texts, deadline_s, cancel_s, poisoned)


def wrong_scores(call: Call, scores: Scores, world: World, around: Around) -> str | None:
    """Return what is wrong with the scores of a call; None if they are those of each text alone."""
    model = around.stands_for or call.model
    if call.poisoned:
        return "it has scores although one of its texts has none"
    if len(scores.values) != len(call.texts):
        return f"it has {len(scores.values)} scores for {len(call.texts)} texts"
    if not (0 <= scores.cached <= len(call.texts) and 0 <= scores.truncated <= len(call.texts)):
        return f"of {len(call.texts)} texts {scores.cached} were remembered and {scores.truncated} truncated"
    for text, score in zip(call.texts, scores.values, strict=True):
        alone = world.table[model, call.query, text]
        if not abs(score - alone) <= TOLERANCE * max(1.0, abs(alone)):
            return f"the text {text[:40]!r} has the score {score}, and alone {alone}"
    return None


def fits(call: Call, error: BaseException, around: Around) -> bool:
    """Return whether an error is one that a call may end with after what was done to it."""
    match error:
        case DeadlineExceededError() | DeadlineUnreachableError():
            return call.deadline_s is not None
        case QueueFullError():
            return around.crowded
        case UnknownModelError():
            return call.model in GUESTS and around.removed
        case ModelFailedError():
            return call.model == BROKEN
        case InferenceError():
            return call.poisoned or (call.model == LOSING and around.lost)
        case EngineClosedError():
            return around.closed
    return False
