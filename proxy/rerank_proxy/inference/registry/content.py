"""The content of `endpoints.json`.

Bytes that are not exactly this are refused: what reading left out would be lost in writing.
"""

import codecs
import json
from collections import Counter
from collections.abc import Sequence
from typing import Annotated, Any, Final

import msgspec

from rerank_proxy.observe.log_lines import printable

_Revision = Annotated[int, msgspec.Meta(ge=0, lt=2**53)]
_MAX_DETAIL: Final = 200


class DamagedFileError(ValueError):
    """The bytes are not a registry. The message tells people what is wrong."""


class Entry(msgspec.Struct, forbid_unknown_fields=True):
    """An endpoint of the file.

    `revision` is the revision of the whole file when the endpoint was written, and is not used again. The
    bytes of `endpoint` are kept, also where they are damaged.
    """

    revision: _Revision
    endpoint: msgspec.Raw


class Content(msgspec.Struct, forbid_unknown_fields=True):
    """All endpoints, by id."""

    revision: _Revision
    endpoints: dict[str, Entry]


def parse(data: bytes) -> Content:
    """Read the bytes of a file.

    Raises:
        DamagedFileError: They are not a registry.
    """
    if data.startswith((codecs.BOM_UTF8, codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise DamagedFileError("it begins with a byte order mark")
    try:
        text = data.decode("utf-8")
        content = msgspec.json.decode(data, type=Content)
        json.loads(text, object_pairs_hook=_refuse_repeats, parse_int=len, parse_float=len)
    except UnicodeDecodeError as error:
        raise DamagedFileError(f"it is not UTF-8 at byte {error.start}") from None
    except RecursionError:
        raise DamagedFileError("it is nested too deeply") from None
    except (msgspec.DecodeError, ValueError) as error:
        raise DamagedFileError(printable(str(error)[:_MAX_DETAIL])) from None
    return content


def render(content: Content) -> bytes:
    """Return the bytes of a file, one endpoint per line."""
    lines = (
        msgspec.json.encode(inference_id) + b": " + msgspec.json.encode(entry)
        for inference_id, entry in content.endpoints.items()
    )
    return b'{"revision": %d, "endpoints": {\n%b\n}}\n' % (content.revision, b",\n".join(lines))


def _refuse_repeats(pairs: Sequence[tuple[str, Any]]) -> None:
    """Refuse two members of one name, one of which every parser drops."""
    if len(dict(pairs)) < len(pairs):
        names = Counter(name for name, _ in pairs)
        raise ValueError(f"it has two members of the name [{names.most_common(1)[0][0]}] in one object")
