"""Queries and texts for the models."""

import random
from typing import Final

from tests.support.tiny_models import CORPUS

QUERIES: Final = ("who carries water to the sea?", "", "Brücke 北京 🙂")
LONG_QUERY: Final = "a long query about trees and rivers " * 10


def texts(count: int) -> list[str]:
    """Make texts of all lengths up to the limit of a tiny model and beyond, the same in every run."""
    rng = random.Random(count)
    words = " ".join(CORPUS).split()
    odd = [
        "",
        "rivers",
        "北京 naïve Brücke 🙂 café",
        "x" * 300,
        "[SEP] </s> <pad> [MASK]",
        "\n\t two\n\nlines ",
    ]
    return [*odd, *(" ".join(rng.choices(words, k=rng.randint(1, 40))) for _ in range(count - len(odd)))]
