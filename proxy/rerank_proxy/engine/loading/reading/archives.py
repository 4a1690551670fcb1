"""Check zip files as torch writes them before torch unpacks them."""

import struct
import zipfile
from pathlib import Path
from typing import BinaryIO, Final

from rerank_proxy.engine.errors import ModelLoadError
from rerank_proxy.engine.loading.reading import model_files

_MAX_DIRECTORY_BYTES: Final = 16 * 1024 * 1024
_MAX_UNPACKED_BYTES: Final = 256 * 1024 * 1024
"""All compressed entries together: torch compresses a program's code, never its weights."""

_END: Final = struct.Struct("<4s4H2LH")
_END_MARK: Final = b"PK\x05\x06"
_END64: Final = struct.Struct("<4sQ2H2L4Q")
_END64_MARK: Final = b"PK\x06\x06"
_LOCATOR_BYTES: Final = 20
_MAX_COMMENT_BYTES: Final = 0xFFFF


def check(path: Path) -> None:
    """Check from the list of contents that a zip file does not unpack to much more than its size.

    A file that is not a zip file is left to the code that reads it.

    Raises:
        ModelLoadError: It unpacks to more than it may, or its list of contents is damaged.
    """
    with model_files.opened(path) as file:
        size = _directory_bytes(file)
        if size is None:
            return
        if size > _MAX_DIRECTORY_BYTES:
            raise ModelLoadError(f"[{path}] has a list of contents of {size} bytes, more than any model's")
        try:
            with zipfile.ZipFile(file) as archive:
                entries = archive.infolist()
        except (zipfile.BadZipFile, NotImplementedError, ValueError) as error:
            raise ModelLoadError(f"[{path}] is damaged ({error}); {model_files.COPY_AGAIN}") from None
        stored = sum(each.file_size for each in entries if each.compress_type == zipfile.ZIP_STORED)
        packed = sum(each.file_size for each in entries if each.compress_type != zipfile.ZIP_STORED)
        if packed > _MAX_UNPACKED_BYTES or stored > path.stat().st_size:
            raise ModelLoadError(
                f"[{path}] unpacks to {stored + packed} bytes, more than a model of its size does"
            )


def _directory_bytes(file: BinaryIO) -> int | None:
    """Return the bytes of the list of contents; None if there is none."""
    file.seek(0, 2)
    end = file.tell()
    tail_bytes = min(end, _END.size + _MAX_COMMENT_BYTES + _END64.size + _LOCATOR_BYTES)
    file.seek(end - tail_bytes)
    tail = file.read(tail_bytes)
    file.seek(0)
    at = tail.rfind(_END_MARK)
    if at < 0 or len(tail) - at < _END.size:
        return None
    size = int(_END.unpack_from(tail, at)[5])
    at64 = tail.rfind(_END64_MARK, 0, at)
    if at64 >= 0 and at - at64 >= _END64.size:
        size = max(size if size != 0xFFFFFFFF else 0, int(_END64.unpack_from(tail, at64)[8]))
    return size
