"""Run ONNX files with OpenVINO, on CPUs: `CompiledModel` is a session for `onnx.OnnxBackend`.

Imports openvino, and neither torch nor transformers.
"""

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from rerank_proxy.engine.errors import ModelLoadError

EXTRA: Final = 'pip install "rerank-proxy[openvino]"'

_TYPES: Final[Mapping[str, str]] = {"i64": "tensor(int64)", "i32": "tensor(int32)"}
"""Names of OpenVINO's types, and ONNX Runtime's."""

_HINTS: Final = {"fp32": "f32", "bf16": "bf16"}


def installed() -> bool:
    """Return whether OpenVINO is there."""
    return find_spec("openvino") is not None


@dataclass(frozen=True, slots=True)
class Port:
    """An input or output of a graph."""

    name: str
    type: str


class CompiledModel:
    """What `OnnxBackend` uses of ONNX Runtime's session, over a model that OpenVINO has compiled.

    Several threads may run it side by side: each has an infer request of its own.
    """

    def __init__(self, model: Any) -> None:
        self._model = model
        self._own = threading.local()

    def get_inputs(self) -> Sequence[Port]:
        """Return the inputs."""
        return [_port(each) for each in self._model.inputs]

    def get_outputs(self) -> Sequence[Port]:
        """Return the outputs."""
        return [_port(each) for each in self._model.outputs]

    def run(self, outputs: Sequence[str], feed: Mapping[str, NDArray[Any]]) -> list[NDArray[Any]]:
        """Run the model, and return copies of the outputs that are named."""
        request = getattr(self._own, "request", None)
        if request is None:
            request = self._own.request = self._model.create_infer_request()
        request.infer(dict(feed))
        return [np.array(request.get_tensor(name).data) for name in outputs]


def open_compiled(
    path: Path, threads: int, workers: int, precision: Literal["fp32", "bf16"]
) -> CompiledModel:
    """Compile an ONNX file for the CPU.

    Args:
        path: A file that `loading/reading/onnx_file.py` has inspected.
        threads: CPU threads of a batch.
        workers: The batches that run side by side.

    Raises:
        ModelLoadError: OpenVINO is not installed, or cannot use the file.
    """
    try:
        import openvino
    except ImportError as error:
        raise ModelLoadError(
            f"[{path}] needs OpenVINO, which cannot be imported ({error}): {EXTRA}"
        ) from None
    # The cores are not its alone, so that it must not bind threads to them.
    config = {
        "INFERENCE_NUM_THREADS": threads * workers,
        "NUM_STREAMS": workers,
        "INFERENCE_PRECISION_HINT": _HINTS[precision],
        "DYNAMIC_QUANTIZATION_GROUP_SIZE": 0,
        "ENABLE_CPU_PINNING": False,
    }
    try:
        return CompiledModel(openvino.Core().compile_model(str(path), "CPU", config))
    except Exception as error:  # It raises RuntimeError, and other kinds for what it does not know.
        reason = " ".join(str(error).split())
        raise ModelLoadError(f"[{path}] cannot be compiled by OpenVINO ({reason})") from error


def _port(port: Any) -> Port:
    kind = port.get_element_type().get_type_name()
    return Port(port.get_any_name(), _TYPES.get(kind, kind))
