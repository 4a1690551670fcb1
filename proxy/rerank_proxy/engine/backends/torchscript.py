"""Run TorchScript programs, the form of model packages. Imports torch."""

import logging
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rerank_proxy.engine.backends.device import memory_errors, to_device
from rerank_proxy.engine.errors import ModelLoadError
from rerank_proxy.engine.rows import Batch, Row

_jit: Any = torch.jit  # has no types
_log = logging.getLogger(__name__)

_TOLERANCE: Final = 1e-4
"""Largest difference that is rounding, relative to the outputs."""

Way = Literal["together", "alone", "filled up"]
"""How rows run: together, padded to the longest; one by one; or one by one, padded to the limit."""

_Values = NDArray[np.float32]


class TorchScriptBackend:
    """A `Backend` over a traced model in float32.

    A trace may be tied to the number or the length of the rows that it was made with, and then silently give
    wrong numbers for others. So loading tries it, and takes the fastest way that is right.

    Args:
        max_length: Tokens of the longest row.
    """

    padded = True

    def __init__(self, program: Any, device: torch.device, pad_id: int, max_length: int) -> None:
        self.serial = device.type != "cpu"
        self._program = program
        self._device = device
        self._pad_id = pad_id
        self._max_length = max_length
        self._arguments = len(program.forward.schema.arguments) - 1
        self._way: Way = "together"

    @property
    def way(self) -> Way:
        """How rows run."""
        return self._way

    def settle(self, rows: Sequence[Row]) -> None:
        """Find out how rows can run, with a few of different lengths and one of the greatest length.

        Raises:
            ModelLoadError: They cannot, or the program is not a reranker.
        """
        together, alone = self._try("together", rows), self._try("alone", rows)
        if not isinstance(together, Exception) and _agree(alone, together):
            expected = together
        else:
            expected = self._filled(rows)
            self._way = "alone" if _agree(alone, expected) else "filled up"
            _log.warning("a TorchScript model is traced for one row at a time, and runs slower for it")
        if expected.shape[1] != 1:
            raise ModelLoadError(
                f"expected exactly [1] value in text_similarity result; got [{expected.shape[1]}]"
            )

    def _filled(self, rows: Sequence[Row]) -> _Values:
        values = self._try("filled up", rows)
        if isinstance(values, Exception):
            raise ModelLoadError(
                f"its program fails for a row of {self._max_length} tokens ({_first_line(values)}); give a "
                "smaller max_length, or the vocabulary that belongs to it"
            ) from values
        return values

    def score(self, batch: Batch) -> _Values:
        with memory_errors():
            return self._ways[self._way](batch)

    @property
    def _ways(self) -> dict[Way, Callable[[Batch], _Values]]:
        return {"together": self._together, "alone": self._alone, "filled up": self._filled_up}

    def _try(self, way: Way, rows: Sequence[Row]) -> _Values | Exception:
        try:
            return self._ways[way](Batch.of(rows))
        except Exception as error:  # A program can fail in any way.
            return error

    def _together(self, batch: Batch) -> _Values:
        ids, type_ids, mask = batch.padded(self._pad_id)
        return self._run(ids, type_ids, mask)

    def _alone(self, batch: Batch) -> _Values:
        return np.concatenate([self._together(row) for row in _rows(batch)])

    def _filled_up(self, batch: Batch) -> _Values:
        outputs = []
        for row in _rows(batch):
            ids, type_ids, mask = row.padded(self._pad_id)
            room = ((0, 0), (0, self._max_length - row.tokens))
            filled = np.pad(ids, room, constant_values=self._pad_id)
            outputs.append(self._run(filled, np.pad(type_ids, room), np.pad(mask, room)))
        return np.concatenate(outputs)

    @torch.inference_mode()
    def _run(self, ids: NDArray[np.int64], type_ids: NDArray[np.int64], mask: NDArray[np.bool_]) -> _Values:
        """Call the program with as many arguments as it takes, in the order that Elasticsearch uses."""
        positions = np.tile(np.arange(ids.shape[1]), (len(ids), 1))
        given = (ids, mask.astype(np.int64), type_ids, positions)
        arguments = [to_device(self._device, each) for each in given[: self._arguments]]
        # The optimiser takes many seconds for the second batch of a large model, and makes it hardly faster.
        with _jit.optimized_execution(False):
            output = self._program(*arguments)
        if isinstance(output, tuple):
            output = output[0]
        if not isinstance(output, Tensor) or output.ndim != 2 or len(output) != len(ids):
            shape = tuple(output.shape) if isinstance(output, Tensor) else type(output).__name__
            raise ModelLoadError(
                f"its program gives {shape} for {len(ids)} rows; a reranker gives a value for each"
            )
        values: _Values = output.float().cpu().numpy()
        return values


def load_program(path: Path, device: torch.device) -> Any:
    """Load a program in evaluation mode, in float32.

    Raises:
        ModelLoadError: The file is not one, or takes other arguments than rerankers do.
    """
    try:
        with warnings.catch_warnings():
            # Elasticsearch's packages are TorchScript, however deprecated.
            warnings.filterwarnings(
                "ignore", message=r"`torch\.jit\.\w+` is deprecated", category=FutureWarning
            )
            program = _jit.load(str(path), map_location=device)
    except Exception as error:  # Damaged programs raise errors of several kinds.
        raise ModelLoadError(
            f"[{path}] cannot be loaded as TorchScript ({_first_line(error)}); copy or download it again"
        ) from error
    arguments = [each.name for each in program.forward.schema.arguments[1:]]
    if not 1 <= len(arguments) <= 4:
        raise ModelLoadError(
            f"[{path}] takes {len(arguments)} arguments ({', '.join(arguments)}); a text_similarity model "
            "takes token ids, attention mask, token types and positions, or the first of these"
        )
    return program.eval()


def _rows(batch: Batch) -> list[Batch]:
    if len(batch) <= 1:
        return [batch]
    first, second = batch.split()
    return [*_rows(first), *_rows(second)]


def _agree(values: _Values | Exception, expected: _Values) -> bool:
    if isinstance(values, Exception) or values.shape != expected.shape:
        return False
    scale = max(1.0, float(np.abs(expected).max()))
    return bool(np.allclose(values, expected, rtol=0, atol=_TOLERANCE * scale, equal_nan=True))


def _first_line(error: Exception) -> str:
    """Return type and message of an error. TorchScript's are tracebacks, with the message at the end."""
    lines = [line for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[-1].strip()}" if lines else type(error).__name__
