"""The ways in which `precision: auto` can run a model without torch: its ONNX file, by other libraries.

The file is the checkpoint's, or is made once, by a process of its own, and kept in `engine.artifacts_dir` if
one of the libraries is taken. None of them is imported before `auto` measures it.
"""

import logging
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Final, Literal

from rerank_proxy.engine.backends import onnx, openvino
from rerank_proxy.engine.backends.cpu import batch_threads, count_workers, has_bfloat16, usable_cores
from rerank_proxy.engine.backends.networks import Classifier, Encoder
from rerank_proxy.engine.backends.onnx import OnnxBackend
from rerank_proxy.engine.backends.protocol import Backend
from rerank_proxy.engine.encoding.tokenizer import Tokenizer
from rerank_proxy.engine.errors import ModelLoadError
from rerank_proxy.engine.loading.building.array_head import build_array_head
from rerank_proxy.engine.loading.building.networks import Network
from rerank_proxy.engine.loading.choosing.backend_choice import takes_type_ids
from rerank_proxy.engine.loading.choosing.precision import OtherWay, Ways
from rerank_proxy.engine.loading.reading import onnx_file
from rerank_proxy.engine.loading.reading.profile import Profile
from rerank_proxy.engine.loading.sources import repository
from rerank_proxy.settings import EngineSettings

_log = logging.getLogger(__name__)

_DIRECTORY: Final = "exported"
_NEEDED_TO_EXPORT: Final = ("onnxruntime", "onnxscript")

_EXPORT: Final = """
import os, sys
from pathlib import Path
from rerank_proxy.engine.loading.export import export
if hasattr(os, "nice"):
    os.nice(10)
export(sys.argv[1], Path(sys.argv[2]), offline=True)
"""


def with_other_libraries(
    ways: Ways,
    network: Network,
    tokenizer: Tokenizer,
    profile: Profile,
    directory: Path,
    engine: EngineSettings,
    fingerprint: str,
) -> Ways:
    """Return the ways with those that run without torch, if the network can have such."""
    if profile.late is not None or not isinstance(network, Classifier | Encoder):
        return ways
    if isinstance(network, Classifier) and getattr(network.model.config, "is_encoder_decoder", False):
        return ways
    libraries = OtherLibraries(
        directory,
        profile,
        engine,
        fingerprint,
        pad_id=tokenizer.transformers.pad_token_id,
        type_ids=takes_type_ids(network.model, tokenizer),
    )
    return replace(ways, others=libraries.ways(), drop_others=libraries.drop)


class OtherLibraries:
    """The ways of one checkpoint.

    Args:
        directory: The checkpoint's.
        profile: Of a cross-encoder or bi-encoder whose graph gives logits or, with a head behind it, tokens.
        fingerprint: Names the checkpoint's files.
    """

    def __init__(
        self,
        directory: Path,
        profile: Profile,
        engine: EngineSettings,
        fingerprint: str,
        *,
        pad_id: int,
        type_ids: bool,
    ) -> None:
        self._directory = directory
        self._profile = profile
        self._pad_id = pad_id
        self._type_ids = type_ids
        self._workers = count_workers(engine.workers, engine.threads or usable_cores())
        self._threads = batch_threads(engine.threads, engine.workers)
        artifacts = engine.artifacts_dir or repository.default_artifacts_dir()
        self._made = artifacts.expanduser() / _DIRECTORY / fingerprint

    def ways(self) -> list[OtherWay]:
        """Return those of libraries that are installed; none where there is no ONNX file and none can be."""
        if not self._can_export() and self._found() is None:
            return []
        ways = []
        if onnx.installed():
            ways.append(self._way("onnxruntime", "fp32", self._by_onnx_runtime))
        if openvino.installed():
            ways.append(self._way("openvino", "fp32", partial(self._by_openvino, "fp32")))
            if has_bfloat16():
                ways.append(self._way("openvino", "bf16", partial(self._by_openvino, "bf16")))
        return ways

    def drop(self) -> None:
        """Remove the file that was made here, if one was."""
        shutil.rmtree(self._made, ignore_errors=True)

    def _way(
        self, library: str, precision: Literal["fp32", "bf16"], build: Callable[[int, int], Backend]
    ) -> OtherWay:
        return OtherWay(
            library, precision, partial(build, 1, 1), partial(build, self._threads, self._workers)
        )

    def _by_onnx_runtime(self, threads: int, workers: int) -> Backend:
        return self._backend(onnx.open_session(self._file(), threads))

    def _by_openvino(self, precision: Literal["fp32", "bf16"], threads: int, workers: int) -> Backend:
        return self._backend(openvino.open_compiled(self._file(), threads, workers, precision))

    def _backend(self, session: object) -> Backend:
        head = build_array_head(self._profile.head) if self._profile.head else None
        return OnnxBackend(session, head, self._pad_id, type_ids=self._type_ids)

    def _can_export(self) -> bool:
        return not self._profile.trusted and all(find_spec(each) for each in _NEEDED_TO_EXPORT)

    def _found(self) -> Path | None:
        own = onnx_file.find(self._profile.directory, self._directory)
        return own or onnx_file.find(self._made / self._relative, self._made)

    @property
    def _relative(self) -> Path:
        return self._profile.directory.relative_to(self._directory)

    def _file(self) -> Path:
        """Return the ONNX file. Make it if there is none.

        Raises:
            ModelLoadError: It cannot be made, or is damaged.
        """
        path = self._found()
        if path is None:
            self._export()
            path = self._found()
            assert path is not None
        root = self._directory if path.is_relative_to(self._directory) else self._made
        onnx_file.inspect(path, root)
        return path

    def _export(self) -> None:
        """Have another process make it: it takes the interpreter's lock for seconds, and much memory."""
        _log.info("[%s] is exported to ONNX, to be measured with other libraries", self._directory)
        command = [sys.executable, "-c", _EXPORT, str(self._directory), str(self._made)]
        try:
            ran = subprocess.run(
                command,
                env={**os.environ, "OMP_NUM_THREADS": "1"},
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                errors="replace",
                check=False,
            )
        except OSError as error:
            raise ModelLoadError(f"[{self._directory}] cannot be exported ({error})") from error
        if ran.returncode != 0 and self._found() is None:  # another process may have made it meanwhile
            reason = (ran.stderr.strip().splitlines() or [f"exit status {ran.returncode}"])[-1]
            raise ModelLoadError(f"[{self._directory}] cannot be exported ({reason})")
