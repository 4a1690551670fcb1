"""The backend `words`: scores a text by how many of the query's words it has."""

from collections.abc import Sequence
from pathlib import Path

from rerank_proxy.backends import EngineSettings, ModelSettings, PluginModel


class SharedWords:
    def __init__(self, ignored: Sequence[str]) -> None:
        self.ignored = set(ignored)

    def score(self, query: str, texts: Sequence[str]) -> Sequence[float]:
        wanted = set(query.lower().split()) - self.ignored
        return [float(len(wanted & set(text.lower().split()))) for text in texts]


def load(directory: Path, settings: ModelSettings, engine: EngineSettings) -> PluginModel:
    return SharedWords((directory / "ignored.txt").read_text().split())
