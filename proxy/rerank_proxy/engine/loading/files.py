"""Files of a model that are opened: regular ones, in its directory, of a size that makes sense."""

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from io import BufferedReader
from pathlib import Path
from typing import Final

from rerank_proxy.engine.errors import ModelLoadError

COPY_AGAIN: Final = "copy or download the model again"

_KINDS: Final = (
    (stat.S_ISDIR, "a directory"),
    (stat.S_ISFIFO, "a named pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)


@contextmanager
def opened(path: Path) -> Iterator[BufferedReader]:
    """A regular file, opened for reading. Never waits, as opening a named pipe would.

    Raises:
        OSError: It cannot be opened.
        ModelLoadError: It is something else.
    """
    check_regular(path, os.stat(path))  # a socket cannot be opened at all
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
    with open(descriptor, "rb") as file:
        check_regular(path, os.fstat(descriptor))
        yield file


def read(path: Path, limit: int) -> bytes:
    """All of a regular file.

    Raises:
        FileNotFoundError: There is none.
        ModelLoadError: It cannot be read, is something else, or has more than `limit` bytes.
    """
    try:
        with opened(path) as file:
            content = file.read(limit + 1)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise ModelLoadError(f"[{path}] cannot be read ({error.strerror}); {COPY_AGAIN}") from error
    if len(content) > limit:
        raise ModelLoadError(f"[{path}] has more than the {limit} bytes that such a file may have")
    return content


def check_regular(path: Path, status: os.stat_result) -> None:
    """Raises:
    ModelLoadError: It is no file.
    """
    if not stat.S_ISREG(status.st_mode):
        what = next((name for is_kind, name in _KINDS if is_kind(status.st_mode)), "no file")
        raise ModelLoadError(f"[{path}] is {what}, where a file should be; {COPY_AGAIN}")
