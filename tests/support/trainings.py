"""Material for trainings in miniature: topics, each with a word for queries and another one for texts.

What a query asks for shares no word with it, so that only what is learned finds it.
"""

import random
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rerank_proxy.relevance.judgments import Hit, Query
from rerank_proxy.relevance.templates import bm25
from rerank_proxy.relevance.training.material import Material
from rerank_proxy.relevance.training.running import Plan

ASKED = ("rivers", "apple", "model", "query", "bridge", "summer", "numbers", "science")
ANSWERED = ("mountains", "beans", "proxy", "reads", "house", "sea", "unusual", "name")
OTHERS = ("the", "and", "of", "with", "for", "long", "two", "new", "how", "well", "each", "text")


def material(queries: int, *, learnable: bool = True, seed: int = 0) -> Material:
    """Make queries with windows of 16 texts in random order, two of each topic, and their judgments.

    Args:
        learnable: False grades texts at random, so that there is nothing to learn.
    """
    generator = random.Random(seed)
    texts, found, judgments, first = {}, {}, {}, {}
    for number in range(queries):
        topic = number % len(ASKED)
        name = f"q{number}"
        found[name] = Query(name, f"{_mixed(generator, ASKED[topic])} {number}")
        window = []
        for place in range(16):
            document = f"{name}-{place}"
            texts[document] = _mixed(generator, ANSWERED[place % len(ANSWERED)])
            window.append(document)
        right = window[topic::8] if learnable else generator.sample(window, 2)
        judgments[name] = {right[0]: 2, right[1]: 1}
        generator.shuffle(window)
        first[name] = [Hit(document, 16.0 - place) for place, document in enumerate(window)]
    return Material(found, judgments, first, texts)


def _mixed(generator: random.Random, word: str) -> str:
    words = [word, word, *generator.sample(OTHERS, 3)]
    generator.shuffle(words)
    return " ".join(words)


def teacher_of(made: Material) -> dict[str, dict[str, float]]:
    """Return the scores of a teacher that knows the judgments, in the scale of logits."""
    return {
        query: {hit.id: 5.0 * made.judgments[query].get(hit.id, 0) - 3 for hit in hits}
        for query, hits in made.first.items()
    }


def plan(work: Path, **given: Any) -> Plan:
    """Return a plan with small numbers; keyword arguments replace them."""
    values: Mapping[str, Any] = {
        "recipe": "auto",
        "base": None,
        "endpoint": None,
        "name": "mine",
        "index": "films",
        "field": "plot",
        "first": bm25("plot"),
        "window": 16,
        "seed": 0,
        "folds": 2,
        "held_out": 0.3,
        "epochs": 1,
        "batch": 32,
        "rate": 1e-3,
        "device": "cpu",
        "work": work,
    }
    return Plan(**{**values, **given})


def names(parts: Sequence[Sequence[str]]) -> list[str]:
    """Return all names of parts, in order."""
    return sorted(name for part in parts for name in part)
