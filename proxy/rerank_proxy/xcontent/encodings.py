"""The encodings of JSON, which Jackson tells apart by the first bytes of a body
(``ByteSourceJsonBootstrapper``)."""

import codecs
from typing import Final

from rerank_proxy.errors import Cause
from rerank_proxy.xcontent.faults import ParseError

_MARKS: Final = (
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
)
_REPLACE: Final = "as-java-replaces"
_ODD_MARKS: Final = {b"\x00\x00\xff\xfe": "2143", b"\xfe\xff\x00\x00": "3412"}


def to_utf8(body: bytes) -> bytes:
    """Return a JSON text in UTF-8. A text in UTF-8 is returned unchanged, including its byte order mark.

    Raises:
        ParseError: The text is UTF-32 that breaks off, holds invalid characters, or has an unusual byte
            order.
    """
    if b"\0" not in body[:4] and body[:2] not in (codecs.BOM_UTF16_BE, codecs.BOM_UTF16_LE):
        return body
    encoding, start = _encoding(body[:4])
    if encoding == "utf-8":
        return body
    text = body[start:]
    if encoding.startswith("utf-32"):
        _check_utf32(text, encoding)
    return text.decode(encoding, _REPLACE).encode()


def _replaced(fault: UnicodeError) -> tuple[str, int]:
    """Replace invalid characters as Java does: a lone high surrogate together with what follows it."""
    assert isinstance(fault, UnicodeDecodeError)
    if not fault.encoding.startswith("utf-16"):
        return "\ufffd", fault.start + 4
    text, at = fault.object, fault.start
    unit = text[at : at + 2]
    high = unit[-1:] if fault.encoding.endswith("le") else unit[:1]
    is_first = len(unit) == 2 and 0xD8 <= high[0] < 0xDC
    return "\ufffd", min(at + (4 if is_first else 2), len(text))


codecs.register_error(_REPLACE, _replaced)


def _encoding(first: bytes) -> tuple[str, int]:
    """Return the encoding, and the offset at which the text begins."""
    if len(first) == 4:
        if order := _ODD_MARKS.get(first):
            raise _odd_order(order)
        for mark, name in _MARKS:
            if first.startswith(mark):
                return name, len(mark)
        zeros = tuple(byte == 0 for byte in first)
        if zeros[:3] == (True, True, True):
            return "utf-32-be", 0
        if zeros[1:] == (True, True, True):
            return "utf-32-le", 0
        if zeros == (True, False, True, True):
            raise _odd_order("3412")
        if zeros == (True, True, False, True):
            raise _odd_order("2143")
    if len(first) >= 2:
        if first[0] == 0:
            return "utf-16-be", 0
        if first[1] == 0:
            return "utf-16-le", 0
    return "utf-8", 0


def _check_utf32(text: bytes, encoding: str) -> None:
    """Refuse what ``UTF32Reader`` refuses, in its words, although they are not quite correct."""
    try:
        text.decode(encoding, "surrogatepass")
    except UnicodeDecodeError as fault:
        here = text[fault.start : fault.start + 4]
        place = f"at char #{fault.start // 4}, byte "
        if len(here) < 4:
            reason = (
                f"Unexpected EOF in the middle of a 4-byte UTF-32 char: got {len(here)}, needed 4, {place}"
            )
            raise _unreadable(f"{reason}#{len(here)})") from None
        value = int.from_bytes(here[::-1] if encoding == "utf-32-le" else here, "big") - 0x10000
        reason = f"Invalid UTF-32 character 0x{value:x} (above 0x0010ffff) {place}#{len(text) - 1})"
        raise _unreadable(reason) from None


def _odd_order(order: str) -> ParseError:
    return _unreadable(f"Unsupported UCS-4 endianness ({order}) detected")


def _unreadable(reason: str) -> ParseError:
    inner = Cause("char_conversion_exception", reason)
    return ParseError(Cause("x_content_parse_exception", reason, caused_by=inner))
