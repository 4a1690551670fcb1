"""Run ONNX files with ONNX Runtime, on CPUs. Imports onnxruntime, and neither torch nor transformers."""

from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from rerank_proxy.engine.backends.array_head import Array, ArrayModule
from rerank_proxy.engine.backends.host_memory import give_back_to_system
from rerank_proxy.engine.errors import ModelLoadError
from rerank_proxy.engine.rows import Batch

EXTRA: Final = 'pip install "rerank-proxy[onnx]"'

INPUTS: Final = ("input_ids", "attention_mask", "token_type_ids")
_LOGITS: Final = ("logits",)
_TOKENS: Final = ("token_embeddings", "last_hidden_state")
_WHOLE: Final = ("sentence_embedding",)
_TYPES: Final[Mapping[str, type[np.generic]]] = {"tensor(int64)": np.int64, "tensor(int32)": np.int32}


def installed() -> bool:
    """Return whether ONNX Runtime is there."""
    return find_spec("onnxruntime") is not None


class OnnxBackend:
    """A `Backend` over an ONNX file that takes rows padded on the right.

    Args:
        session: As `open_session` returns it, or `openvino.open_compiled`.
        head: The modules behind the transformer; None for a graph that gives logits itself.
        pad_id: The id of padding.
        type_ids: Give the model the segments of the rows, and not zeros, if it takes segments.

    Raises:
        ModelLoadError: The graph has other inputs or outputs than a reranker's.
    """

    padded = True
    serial = False

    def __init__(
        self, session: Any, head: Sequence[ArrayModule] | None, pad_id: int, *, type_ids: bool
    ) -> None:
        self._session = session
        self._pad_id = pad_id
        self._type_ids = type_ids
        self._inputs = _inputs(session)
        outputs = [each.name for each in session.get_outputs()]
        self._output = _output(outputs, _LOGITS if head is None else (*_TOKENS, *_WHOLE))
        self._head = () if head is None or self._output in _WHOLE else tuple(head)

    def score(self, batch: Batch) -> NDArray[np.float32]:
        ids, type_ids, mask = batch.padded(self._pad_id)
        given = {
            "input_ids": ids,
            "attention_mask": mask,
            "token_type_ids": type_ids if self._type_ids else np.zeros_like(type_ids),
        }
        feed = {name: given[name].astype(kind, copy=False) for name, kind in self._inputs.items()}
        (output,) = self._session.run([self._output], feed)
        values: Array = np.asarray(output, np.float32)
        for module in self._head:
            values = module(values, mask)
        # The tensors of a batch are several times as large as a model. This takes a hundredth of its time.
        give_back_to_system()
        return values


def open_session(path: Path, threads: int) -> Any:
    """Open an ONNX file for the CPU.

    Args:
        path: A file that `loading/reading/onnx_file.py` has inspected.
        threads: CPU threads of an operation.

    Raises:
        ModelLoadError: ONNX Runtime is not installed, or cannot use the file.
    """
    try:
        import onnxruntime
    except ImportError as error:
        raise ModelLoadError(
            f"[{path}] needs ONNX Runtime, which cannot be imported ({error}): {EXTRA}"
        ) from None
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 4  # what it logs comes as an error, too
    # Both keep memory for the largest shapes so far: with rows of all lengths it would grow and grow.
    options.enable_cpu_mem_arena = False
    options.enable_mem_pattern = False
    # As `sleep_while_waiting` does for OpenMP.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # It raises a dozen kinds of its own, for operators that it does not have …
        reason = " ".join(str(error).split())
        raise ModelLoadError(f"[{path}] cannot be loaded by ONNX Runtime ({reason})") from error


def _inputs(session: Any) -> dict[str, type[np.generic]]:
    """Return the type of each input."""
    found = {}
    for each in session.get_inputs():
        kind = _TYPES.get(each.type)
        if each.name not in INPUTS or kind is None:
            raise ModelLoadError(
                f"its ONNX graph takes [{each.name}] ({each.type}); a reranker's takes {', '.join(INPUTS)}"
            )
        found[each.name] = kind
    if not {"input_ids", "attention_mask"} <= found.keys():
        raise ModelLoadError(
            "its ONNX graph does not take input_ids and attention_mask, without which no batch can be run"
        )
    return found


def _output(outputs: Sequence[str], known: Sequence[str]) -> str:
    for name in known:
        if name in outputs:
            return name
    raise ModelLoadError(
        f"its ONNX graph gives {', '.join(outputs)}; needed is {' or '.join(known)}: export it for this task "
        "(`rerank-proxy export`)"
    )
