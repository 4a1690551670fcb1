"""Files that users name: what cannot be read or written is said in a line that begins with the file."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rerank_proxy.files import atomic, regular
from rerank_proxy.relevance.errors import RelevanceError


def read(path: Path, most: int) -> bytes:
    """Return all of a file.

    Args:
        most: The most bytes that it may have.

    Raises:
        RelevanceError: It is something else than a file, is larger, or cannot be read.
    """
    with _told(path, "read"):
        return regular.read(path, most)


def read_if_exists(path: Path, most: int) -> bytes | None:
    """Return all of a file, or None if there is none; raise as `read`."""
    with _told(path, "read"):
        return regular.read_if_exists(path, most)


def read_text(path: Path, most: int) -> str:
    """Return the text of a file in UTF-8, without a byte order mark.

    Raises:
        RelevanceError: As of `read`, or it is not UTF-8.
    """
    try:
        return read(path, most).decode("utf-8-sig")
    except UnicodeDecodeError:
        raise RelevanceError(f"{path}: is not UTF-8: save the file in that coding") from None


def write(path: Path, content: bytes, mode: int = 0o644) -> None:
    """Write a file, in the place of a former one, and the directories that it is in.

    Raises:
        RelevanceError: It cannot be written; the former one is as it was.
    """
    with _told(path, "written"):
        path.parent.mkdir(parents=True, exist_ok=True)
        atomic.replace(path, content, mode)


@contextmanager
def _told(path: Path, what: str) -> Iterator[None]:
    try:
        yield
    except regular.UnfitFileError as error:
        raise RelevanceError(f"{path}: {error.problem}") from None
    except OSError as error:
        raise RelevanceError(f"{path}: cannot be {what}: {error.strerror}") from None
