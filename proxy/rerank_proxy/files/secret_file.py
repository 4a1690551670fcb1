"""Read a secret from a file, such as those that Docker and Kubernetes mount."""

from pathlib import Path
from typing import Final

from rerank_proxy.files.regular import UnfitFileError, read

MAX_SECRET_BYTES: Final = 64 * 1024


def read_secret(path: Path) -> str:
    """Return the text of a file without the line ends behind it and the byte order mark before it.

    Raises:
        UnfitFileError: It cannot be read, is empty, too large or no text. The message has nothing of its
            content.
    """
    try:
        text = read(path.expanduser(), MAX_SECRET_BYTES).decode("utf-8-sig").rstrip("\r\n")
    except OSError as error:
        raise UnfitFileError(path, f"cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise UnfitFileError(path, "is not UTF-8 text") from None
    except UnfitFileError:
        raise
    except (ValueError, RuntimeError):  # what no file can be called, or a user whose home is not known
        raise UnfitFileError(path, "cannot be read: it is not the name of a file") from None
    if not text:
        raise UnfitFileError(path, "is empty")
    return text
