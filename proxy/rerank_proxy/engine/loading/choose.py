"""Load a model by the backend that its settings and its files call for.

Only the libraries of that backend are imported: torch and transformers, or ONNX Runtime.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

from rerank_proxy.concurrency.collection import no_collection
from rerank_proxy.engine.backends import onnx
from rerank_proxy.engine.errors import ModelLoadError
from rerank_proxy.engine.loading import plugins
from rerank_proxy.engine.loading.loaded_model import LoadedModel
from rerank_proxy.engine.loading.packages.package import Package
from rerank_proxy.engine.loading.reading import onnx_file
from rerank_proxy.engine.loading.sources.source import locate
from rerank_proxy.engine.loading.sources.weights_size import size_on_disk
from rerank_proxy.settings import EngineSettings, ModelSettings


def load(
    name: str,
    settings: ModelSettings,
    engine: EngineSettings,
    watch: Callable[[], AbstractContextManager[None]] = nullcontext,
    wait_for_memory: Callable[[int], None] = lambda size_bytes: None,
) -> LoadedModel:
    """Load a model, downloaded if need be.

    Args:
        watch: Watches that what is done within returns in time. Downloads, and waiting for other models to be
            built, are not watched.
        wait_for_memory: Called with the bytes that the weights will take. Returns when there is room.

    Raises:
        ModelLoadError: One line that names the source, what is wrong, and the remedy.
    """
    plugin = None if settings.backend in plugins.BUILT_IN else plugins.find(settings.backend)
    found = locate(name, settings, engine)
    if plugin is not None:
        wait_for_memory(size_on_disk(found))
        with watch():
            return plugin.load(found.directory if isinstance(found, Package) else found, settings, engine)
    if isinstance(found, Package):
        wait_for_memory(size_on_disk(found))
        return _load_package(found, settings, engine, watch)
    if settings.backend == "onnx" or (settings.backend == "auto" and _has_only_onnx(found)):
        return _load_onnx(found, settings, engine, watch, wait_for_memory)
    # Imported on the loading thread: torch takes seconds.
    with no_collection():
        from rerank_proxy.engine.loading.load import load_checkpoint

    return load_checkpoint(found, settings, engine, watch, wait_for_memory)


def _load_package(
    package: Package,
    settings: ModelSettings,
    engine: EngineSettings,
    watch: Callable[[], AbstractContextManager[None]],
) -> LoadedModel:
    if settings.backend == "onnx":
        raise ModelLoadError(
            f"[{settings.source}] is a package with a TorchScript program, which ONNX Runtime does not run; "
            "remove the model's [backend]"
        )
    from rerank_proxy.engine.loading.load_package import load_package

    with watch():
        return load_package(package, settings, engine)


def _load_onnx(
    directory: Path,
    settings: ModelSettings,
    engine: EngineSettings,
    watch: Callable[[], AbstractContextManager[None]],
    wait_for_memory: Callable[[int], None],
) -> LoadedModel:
    if not onnx.installed():
        why = "its backend is [onnx]" if settings.backend == "onnx" else "it has an ONNX file and no weights"
        raise ModelLoadError(f"[{settings.source}] needs ONNX Runtime, as {why}: {onnx.EXTRA}")
    from rerank_proxy.engine.loading.load_onnx import load_onnx

    wait_for_memory(sum(path.stat().st_size for path in directory.rglob("*.onnx*") if path.is_file()))
    with watch():
        return load_onnx(directory, settings, engine)


def _has_only_onnx(directory: Path) -> bool:
    """Return whether there is an ONNX file and no weights, in a directory or its transformer's."""
    places = [directory, *(each for each in sorted(directory.glob("0_*")) if each.is_dir())]
    has_onnx = any((place / file).exists() for place in places for file in onnx_file.PLACES)
    weights = (
        path for place in places for pattern in ("*.safetensors", "*.bin") for path in place.glob(pattern)
    )
    has_weights = next(weights, None) is not None
    return has_onnx and not has_weights
