"""The models of a soak run, their texts, and the scores that each text gets alone."""

import random
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Final

from benchmarks.soak import builds, faults
from benchmarks.soak.builds import BROKEN
from rerank_proxy.engine import Engine
from rerank_proxy.settings import EngineSettings, ModelSettings
from tests.support import tiny_models

QUERIES: Final = ("who carries water to the sea?", "apple trees", "Brücke 北京 🙂", "")

PLUGIN: Final = "plug-in"
LOSING: Final = "losing"
"""A model that loses the worker which runs it."""
HANGING: Final = "hanging"
"""A model that never returns; no caller draws it."""
FAULTY: Final = (PLUGIN, LOSING, HANGING)
"""Models of the backend that fails."""
GUESTS: Final = ("guest-1", "guest-2")
"""Models that come and go, each time as one of several."""

Table = Mapping[tuple[str, str, str], float]
"""Scores by model, query and text."""


@dataclass(frozen=True, slots=True)
class World:
    """What calls are drawn from.

    Attributes:
        models: By name, without the guests.
        guests: What a guest may be, by a name that is in the table in the guest's place.
        directory: Where there is room for files.
    """

    models: Mapping[str, ModelSettings]
    guests: Mapping[str, ModelSettings]
    texts: Sequence[str]
    table: Table
    directory: Path

    @property
    def callable(self) -> Sequence[str]:
        """The models of calls."""
        return sorted([*self.models.keys() - {HANGING}, *GUESTS])

    @property
    def weights_bytes(self) -> int:
        """The size of the largest weights on disk."""
        every = (*self.models.values(), *self.guests.values())
        return max(size_of(Path(each.source)) for each in every)


def size_of(directory: Path) -> int:
    """Return the bytes of a model's weights."""
    return sum(path.stat().st_size for path in directory.glob("*.safetensors"))


async def make_world(directory: Path, texts: int, names: Collection[str] | None = None) -> World:
    """Make the models below `directory`, and score each text alone.

    Args:
        names: The models that stay; None: all.
    """
    faults.install(directory / "site")
    empty = directory / "plug-ins"
    empty.mkdir()
    plugins = {name: {"source": str(empty), "backend": faults.BACKEND} for name in FAULTY}
    models = {**builds.build_all(directory), **plugins}
    models = {name: each for name, each in models.items() if names is None or name in names}
    guests = builds.build_guests(directory)
    known, coming = (
        {name: ModelSettings(**each, preload=False) for name, each in some.items()}
        for some in (models, guests)
    )
    drawn = make_texts(texts)
    return World(known, coming, drawn, await _table({**known, **coming}, drawn), directory)


def make_texts(count: int) -> list[str]:
    """Make texts of all lengths up to the limit of a tiny model and beyond, the same in every run."""
    rng = random.Random(count)
    words = " ".join(tiny_models.CORPUS).split()
    odd = ["", "rivers", "北京 naïve Brücke 🙂 café", "x" * 300, "\n\t two\n\nlines ", "river " * 400]
    return [*odd, *(" ".join(rng.choices(words, k=rng.randint(1, 60))) for _ in range(count - len(odd)))]


async def _table(known: Mapping[str, ModelSettings], texts: Sequence[str]) -> Table:
    """Score each text alone, in an engine that remembers nothing."""
    table: dict[tuple[str, str, str], float] = {}
    async with running(known, EngineSettings(device="cpu", cache_bytes=0, offline=True)) as engine:
        for name in known:
            if name in (*FAULTY, BROKEN):
                continue
            for query in QUERIES:
                for text in texts:
                    (table[name, query, text],) = (await engine.scores(name, query, [text])).values
    for query, name in product(QUERIES, FAULTY):
        table |= {(name, query, text): faults.score(query, text) for text in texts}
    return table


@asynccontextmanager
async def running(models: Mapping[str, ModelSettings], settings: EngineSettings) -> AsyncIterator[Engine]:
    """Run an engine."""
    engine = Engine(models, settings)
    await engine.start()
    try:
        yield engine
    finally:
        await engine.close()
