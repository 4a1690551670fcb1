"""Read files of a model: only regular ones of an expected size, and with a `ModelLoadError` for others."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from io import BufferedReader
from pathlib import Path
from typing import Final

from rerank_proxy.engine.errors import ModelLoadError
from rerank_proxy.files import regular
from rerank_proxy.files.regular import TooLargeFileError, UnfitFileError

COPY_AGAIN: Final = "copy or download the model again"


@contextmanager
def opened(path: Path) -> Iterator[BufferedReader]:
    """Open a regular file for reading.

    Raises:
        OSError: It cannot be opened.
        ModelLoadError: It is not a regular file.
    """
    with _refusals_told(path), regular.opened(path) as file:
        yield file


def read(path: Path, limit: int) -> bytes:
    """Return all of a regular file.

    Raises:
        FileNotFoundError: There is none.
        ModelLoadError: It cannot be read, is not a regular file, or has more than `limit` bytes.
    """
    try:
        with _refusals_told(path):
            return regular.read(path, limit)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise ModelLoadError(f"[{path}] cannot be read ({error.strerror}); {COPY_AGAIN}") from error


def check_regular(path: Path, status: os.stat_result) -> None:
    """Refuse what is not a regular file.

    Raises:
        ModelLoadError: It is something else.
    """
    with _refusals_told(path):
        regular.check_regular(path, status)


@contextmanager
def _refusals_told(path: Path) -> Iterator[None]:
    try:
        yield
    except TooLargeFileError as error:
        raise ModelLoadError(f"[{path}] {error.problem}, the most that such a file may have") from None
    except UnfitFileError as error:
        raise ModelLoadError(f"[{path}] {error.problem}; {COPY_AGAIN}") from None
