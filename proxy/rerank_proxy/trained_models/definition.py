"""The program of a model that is being uploaded: its parts as files, until all have come."""

import shutil
from pathlib import Path
from typing import Final

from rerank_proxy.files.atomic import replace
from rerank_proxy.trained_models.failures import bad_request
from rerank_proxy.trained_models.requests.parts import DefinitionPart

_BAD_PARTS: Final = (
    "Deployment of this model is not possible. Please re-upload the model definition parts, "
    "or delete the model and create it again"
)
_COPY_BYTES: Final = 1024 * 1024


class PartialDefinition:
    """The parts of one program that have come so far, in a directory of their own.

    Parts come in any order, and a part that comes again replaces the earlier one. Methods that touch files
    block, and must be called one at a time.

    Args:
        max_size: The largest program that is accepted, in bytes.
    """

    def __init__(self, model_id: str, directory: Path, max_size: int) -> None:
        self._model_id = model_id
        self._directory = directory
        self._max_size = max_size
        self._lengths: dict[int, int] = {}
        self._first: DefinitionPart | None = None
        self.total_length = 0

    @property
    def received(self) -> int:
        """The size of all parts so far, in bytes."""
        return sum(self._lengths.values())

    @property
    def begun(self) -> bool:
        return self._first is not None

    @property
    def complete(self) -> bool:
        """True when all parts have come and together have the announced length."""
        return (
            self._first is not None
            and len(self._lengths) == self._first.total_parts
            and self.received == self.total_length
        )

    def put(self, part: DefinitionPart) -> None:
        """Keep a part, as a whole or not at all.

        Raises:
            ElasticsearchError: 400; it does not fit the others, or the program is too large.
        """
        self._check(part)
        replace(self._path(part.number), part.content)
        self._lengths[part.number] = len(part.content)
        if self._first is None:
            self._first = DefinitionPart(part.number, b"", part.total_length, part.total_parts)
            self.total_length = part.total_length

    def assemble(self, target: Path) -> None:
        """Write the whole program; the parts stay."""
        with target.open("xb") as whole:
            for number in range(len(self._lengths)):
                with self._path(number).open("rb") as part:
                    shutil.copyfileobj(part, whole, _COPY_BYTES)

    def _check(self, part: DefinitionPart) -> None:
        if part.total_length > self._max_size:
            raise bad_request(
                f"[{self._model_id}] [total_definition_length] is [{part.total_length}] bytes, more than the "
                f"[{self._max_size}] that [trained_models.max_model_size] allows"
            )
        first = self._first
        if first is not None:
            self._check_same(part, "total_definition_length", part.total_length, first.total_length)
            self._check_same(part, "total_parts", part.total_parts, first.total_parts)
        received = self.received - self._lengths.get(part.number, 0) + len(part.content)
        if received > part.total_length:
            raise bad_request(
                f"[{self._model_id}] model definition part [{part.number}] makes the definition longer than "
                f"the [total_definition_length] [{part.total_length}]: [{received}] bytes"
            )

    def _check_same(self, part: DefinitionPart, name: str, value: int, before: int) -> None:
        if value != before:
            assert self._first is not None
            raise bad_request(
                f"[{self._model_id}] [{name}] must be the same in all model definition parts. The value "
                f"[{value}] in model definition part [{part.number}] does not match the value [{before}] in "
                f"part [{self._first.number}]. {_BAD_PARTS}"
            )

    def _path(self, number: int) -> Path:
        return self._directory / f"{number:05}.part"
