"""How much memory a model's weights take, from its files alone."""

from pathlib import Path

from rerank_proxy.engine.loading.packages.package import Package
from rerank_proxy.engine.loading.reading import safetensors_header


def size_of_weights(directory: Path, number_bytes: int) -> int:
    """Return the bytes of a transformer's weights in memory.

    Args:
        number_bytes: Those of one number there. Files in the old format count as they are.
    """
    safe = list(directory.glob("*.safetensors"))
    if safe:
        return sum(map(safetensors_header.count_weights, safe)) * number_bytes
    return sum(path.stat().st_size for path in directory.glob("*.bin"))


def size_on_disk(model: Path | Package) -> int:
    """Return the bytes of the files of a model of which nothing more is known."""
    files = [model.model_path] if isinstance(model, Package) else model.rglob("*")
    return sum(path.stat().st_size for path in files if path.is_file())
