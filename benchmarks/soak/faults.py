"""A backend of another package that fails at the texts that ask for it, installed as packages are."""

import sys
import threading
import time
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

BACKEND: Final = "soak"
POISON: Final = ("raise", "nan", "few", "many")
"""Texts at which it fails, each in its own way."""

EXIT: Final = "exit"
"""A text at which the worker is lost that runs it, with the whole batch."""

HANG: Final = "hang"
"""A text at which it does not return before `RELEASE` is set."""

RELEASE: Final = threading.Event()

_MODULE: Final = "rerank_proxy_soak_backend"
_BATCH_S: Final = 0.001


def score(query: str, text: str) -> float:
    """Return the score of a text, which is exactly a float32."""
    return float(zlib.crc32(f"{query}\0{text}".encode()) % 4096) / 64


class Model:
    """Scores by checksum, as a slow model would. See `rerank_proxy.engine.loading.plugins.PluginModel`."""

    def score(self, query: str, texts: Sequence[str]) -> Sequence[float]:
        time.sleep(_BATCH_S)
        if EXIT in texts:
            sys.exit("it was asked to")
        if HANG in texts:
            RELEASE.wait()
        if "raise" in texts:
            raise RuntimeError("it was asked to")
        scores = [float("nan") if text == "nan" else score(query, text) for text in texts]
        if "few" in texts:
            return scores[:-1]
        return [*scores, 0.0] if "many" in texts else scores


def load(directory: Path, settings: Any, engine: Any) -> Model:
    """Return the model: it has no files."""
    return Model()


def install(site: Path) -> None:
    """Make a package with this module's `load` under an entry point, and have it found from now on."""
    about = site / f"{_MODULE}-1.0.dist-info"
    about.mkdir(parents=True)
    (site / f"{_MODULE}.py").write_text(f"from {__name__} import load\n")
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {_MODULE}\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text(f"[rerank_proxy.backends]\n{BACKEND} = {_MODULE}\n")
    sys.path.insert(0, str(site))
