"""Linear layers over integers of eight bits by ONNX Runtime, whose matrix product is the fastest there is.

Each layer is a graph of one operation, `DynamicQuantizeMatMul` of ONNX Runtime: it quantises its values by
their smallest and largest, multiplies, and adds the bias. It reads and writes torch's memory, without copies.
"""

from collections.abc import Sequence
from importlib.util import find_spec
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

_FLOAT: Final = 1
_INT8: Final = 3
"""`TensorProto.DataType`."""

_IR_VERSION: Final = 9
_OPERATIONS: Final = (("", 20), ("com.microsoft", 1))
"""Domains and their versions."""


def installed() -> bool:
    """Return whether ONNX Runtime is there."""
    return find_spec("onnxruntime") is not None


class OnnxProduct:
    """A layer that several threads may run, each on itself alone.

    Args:
        weight: Integers, shape (outputs, inputs).
        scales: What one step of them is, shape (outputs,).
        bias: Shape (outputs,).
    """

    def __init__(
        self, weight: NDArray[np.int8], scales: NDArray[np.float32], bias: NDArray[np.float32] | None
    ) -> None:
        import onnxruntime

        self._outputs, self._inputs = weight.shape
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 4  # what it logs comes as an error, too
        options.enable_cpu_mem_arena = False
        model = _model(np.ascontiguousarray(weight.T), scales, bias)
        self._session: Any = onnxruntime.InferenceSession(model, options, ["CPUExecutionProvider"])

    def __call__(self, values: Tensor, output: Tensor) -> None:
        """Write the outputs of float32 values. Both lie in memory row by row."""
        binding = self._session.io_binding()
        shapes = [(len(values), self._inputs), (len(output), self._outputs)]
        binding.bind_input("values", "cpu", 0, np.float32, shapes[0], values.data_ptr())
        binding.bind_output("output", "cpu", 0, np.float32, shapes[1], output.data_ptr())
        self._session.run_with_iobinding(binding)


def _model(weight: NDArray[np.int8], scales: NDArray[np.float32], bias: NDArray[np.float32] | None) -> bytes:
    """Return the graph as an ONNX file (source of the field numbers: `onnx.proto` of ONNX)."""
    tensors = [_tensor("weight", weight, _INT8), _tensor("scales", scales, _FLOAT)]
    inputs = ["values", "weight", "scales", ""]
    if bias is not None:
        tensors.append(_tensor("bias", bias, _FLOAT))
        inputs.append("bias")
    node = b"".join(
        [
            *(_bytes(1, name.encode()) for name in inputs),
            _bytes(2, b"output"),
            _bytes(4, b"DynamicQuantizeMatMul"),
            _bytes(7, b"com.microsoft"),
        ]
    )
    graph = b"".join(
        [
            _bytes(1, node),
            _bytes(2, b"linear"),
            *(_bytes(5, tensor) for tensor in tensors),
            _bytes(11, _value("values", weight.shape[0])),
            _bytes(12, _value("output", weight.shape[1])),
        ]
    )
    operations = [
        _bytes(8, _bytes(1, domain.encode()) + _number(2, version)) for domain, version in _OPERATIONS
    ]
    return b"".join([_number(1, _IR_VERSION), _bytes(7, graph), *operations])


def _tensor(name: str, array: NDArray[Any], kind: int) -> bytes:
    dimensions = [_number(1, size) for size in array.shape]
    return b"".join(
        [*dimensions, _number(2, kind), _bytes(8, name.encode()), _bytes(9, array.tobytes())],
    )


def _value(name: str, columns: int) -> bytes:
    """Describe a matrix of float32 with any number of rows."""
    shape = _bytes(1, _bytes(2, b"tokens")) + _bytes(1, _number(1, columns))
    return _bytes(1, name.encode()) + _bytes(2, _bytes(1, _number(1, _FLOAT) + _bytes(2, shape)))


def _number(field: int, value: int) -> bytes:
    return _varint(field << 3) + _varint(value)


def _bytes(field: int, value: bytes) -> bytes:
    return _varint(field << 3 | 2) + _varint(len(value)) + value


def _varint(value: int) -> bytes:
    groups: Sequence[int] = [value >> shift & 0x7F for shift in range(0, max(1, value.bit_length()), 7)]
    return bytes([*(group | 0x80 for group in groups[:-1]), groups[-1]])
