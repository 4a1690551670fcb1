"""What files of queries, judgments and clicks are packed and coded in: UTF-8, plain or in gzip, is read, and
what else is met often is named.
"""

import codecs
import gzip
import io
import re
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from rerank_proxy.relevance.errors import RelevanceError
from rerank_proxy.relevance.files import read

MAX_BYTES: Final = 1 << 30
"""The largest file, and the most that is unpacked of one."""
_GZIP: Final = b"\x1f\x8b"
_UNPACK: Final = "unpack it first"
_SAVE: Final = "save the file as UTF-8"
_UNREAD: Final[Mapping[bytes, str]] = {
    rb"PK\x03\x04": f"is a zip archive or a spreadsheet: {_UNPACK}, or save the table as CSV",
    rb"BZh[1-9]1AY&SY": f"is packed by bzip2: {_UNPACK}",
    rb"\xfd7zXZ": f"is packed by xz: {_UNPACK}",
    rb"\x28\xb5\x2f\xfd": f"is packed by zstd: {_UNPACK}",
    rb"PAR1[\x00-\x1f]": "is a Parquet file: save the table as CSV",
    codecs.BOM_UTF16_LE: f"is in UTF-16: {_SAVE}",
    codecs.BOM_UTF16_BE: f"is in UTF-16: {_SAVE}",
}
"""By patterns of their first bytes: what is not read, and what to do about it."""


def content_of(path: Path) -> bytes:
    """Return what a file holds, unpacked and without a byte order mark.

    Raises:
        RelevanceError: It cannot be read, is too large, or is packed or coded in another way.
    """
    content = read(path, MAX_BYTES)
    if content.startswith(_GZIP):
        content = _unpacked(path, content)
    if problem := next((said for mark, said in _UNREAD.items() if re.match(mark, content)), None):
        raise RelevanceError(f"{path}: {problem}")
    return content.removeprefix(codecs.BOM_UTF8)


def _unpacked(path: Path, content: bytes) -> bytes:
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(content)) as file:
            found = file.read(MAX_BYTES + 1)
    except (OSError, EOFError, zlib.error):
        raise RelevanceError(f"{path}: is packed by gzip, and damaged: fetch it again") from None
    if len(found) > MAX_BYTES:
        raise RelevanceError(f"{path}: has more than {MAX_BYTES} bytes when it is unpacked")
    return found
