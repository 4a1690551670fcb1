"""CBOR (RFC 8949), as Jackson's ``CBORParser`` and ``CBORGenerator`` take and write it for Elasticsearch."""

import json
import math
import struct
from base64 import b64encode
from collections.abc import Callable, Mapping
from decimal import Decimal
from io import BytesIO
from typing import Any, Final

import cbor2

from rerank_proxy.errors import Cause, ElasticsearchError
from rerank_proxy.xcontent.faults import too_many_values
from rerank_proxy.xcontent.text import MAX_READ_VALUES

_ARGUMENT_BYTES: Final = {24: 1, 25: 2, 26: 4, 27: 8}
_INDEFINITE: Final = 31
_STRINGS: Final = (2, 3)
_MAX_DEPTH: Final = 400
"""Each level takes a call; Elasticsearch refuses queries far less deep."""


def read(body: bytes) -> bytes:
    """Read a request body; return it as compact JSON, byte strings in Base64, tags without their meaning.

    Raises:
        ElasticsearchError: 400 for a malformed body, and for one with more than `MAX_READ_VALUES` values.
    """
    _check_size(body)
    decoder = cbor2.CBORDecoder(
        BytesIO(body),
        tag_hook=lambda tag, _: tag.value,
        semantic_decoders=_TAGS,
        max_depth=_MAX_DEPTH,
        allow_duplicate_keys=False,
    )
    try:
        printed = _json(decoder.decode())
    except cbor2.CBORDecodeEOF as failure:
        raise _malformed(failure, "x_content_e_o_f_exception", "json_e_o_f_exception") from None
    except (cbor2.CBORDecodeError, ValueError) as failure:
        raise _malformed(failure) from None
    _expect_end(decoder)
    return printed.encode()


def _check_size(body: bytes) -> None:
    """Refuse a body of very many values before anything is made of them: a byte may be an empty array.

    Names, chunks of strings, tags and the ends of containers count as values.
    """
    place = values = 0
    while place < len(body):
        first = body[place]
        major, info = first >> 5, first & 0x1F
        place += 1
        argument = info
        if info in _ARGUMENT_BYTES:
            size = _ARGUMENT_BYTES[info]
            argument = int.from_bytes(body[place : place + size], "big")
            place += size
        if major in _STRINGS and info != _INDEFINITE:
            place += argument
        values += 1
        if values > MAX_READ_VALUES:
            raise too_many_values(MAX_READ_VALUES, "names and values of a body in CBOR")


def _value(value: Any, _immutable: bool) -> Any:
    return value


def _refuse_reference(_value: Any, _immutable: bool) -> Any:
    raise ValueError("string references are not supported")  # a small body must not become a large one


# Jackson knows big numbers (2, 3) and decimal fractions (4); for every other tag that cbor2 knows, dates and
# shared values among them, the value alone counts.
_TAGS: Final[Mapping[int, Callable[[Any, bool], Any]]] = {
    **dict.fromkeys(
        (0, 1, 5, 28, 29, 30, 35, 36, 37, 52, 54, 100, 256, 258, 260, 261, 1004, 43000, 55799), _value
    ),
    25: _refuse_reference,
}


def _json(value: Any) -> str:
    if isinstance(value, Mapping):
        pairs = []
        for name, item in value.items():
            pairs.append(f"{_quoted(_name(name))}:{_json(item)}")
        return "{" + ",".join(pairs) + "}"
    if isinstance(value, list | tuple):
        items = []
        for item in value:
            items.append(_json(item))  # noqa: PERF401 - as above
        return "[" + ",".join(items) + "]"
    if isinstance(value, cbor2.CBORSimpleValue):
        value = value.value
    if value is cbor2.undefined:
        value = None
    if isinstance(value, bytes):
        value = b64encode(value).decode()
    if isinstance(value, Decimal):
        value = float(value)
    if isinstance(value, float) and not math.isfinite(value):
        value = "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    return _quoted(value)


def _name(name: Any) -> str:
    if isinstance(name, bytes):
        return name.decode()
    if isinstance(name, str) or type(name) is int:
        return str(name)
    raise ValueError(f"Unsupported type [{type(name).__name__}] of a name in an object, only strings are")


def _quoted(scalar: Any) -> str:
    return json.dumps(scalar, ensure_ascii=False)


def _expect_end(decoder: cbor2.CBORDecoder) -> None:
    try:
        decoder.read(1)
    except cbor2.CBORDecodeEOF:
        return
    reason = "Unexpected token found after the main object."
    raise ElasticsearchError(400, Cause("parsing_exception", reason))


def _malformed(
    failure: Exception, outer: str = "x_content_parse_exception", inner: str = "json_parse_exception"
) -> ElasticsearchError:
    reason = f"{failure}: {failure.__cause__}" if failure.__cause__ else str(failure)
    return ElasticsearchError(400, Cause(outer, f"[-1:-1] {reason}", caused_by=Cause(inner, reason)))


class _Float32(float):
    """A score, which Elasticsearch writes in four bytes."""


def write(body: bytes) -> bytes:
    """Write a JSON answer in CBOR, objects and arrays of indefinite length.

    Scores are float32, every other number with a fraction is float64.
    """
    answer = json.loads(body.decode("utf-8", "surrogatepass"))
    _mark_scores(answer)
    try:
        return cbor2.dumps(answer, indefinite_containers=True, encoders={_Float32: _write_float32})
    except UnicodeEncodeError:
        encoders: dict[type, cbor2.EncoderHook] = {_Float32: _write_float32, str: _write_text}
        return cbor2.dumps(answer, indefinite_containers=True, encoders=encoders)


_OF_THE_USER: Final = frozenset({"_source", "fields", "highlight"})


def _mark_scores(value: Any) -> None:
    """Mark scores at any depth, for inner hits and top hits have some, but not in what users have stored."""
    if isinstance(value, list):
        for item in value:
            _mark_scores(item)
    elif isinstance(value, dict):
        for name, item in value.items():
            if isinstance(item, float) and name in ("_score", "max_score"):
                value[name] = _Float32(item)
            elif name not in _OF_THE_USER:
                _mark_scores(item)


def _write_float32(encoder: cbor2.CBOREncoder, value: _Float32) -> None:
    encoder.write(b"\xfa" + struct.pack(">f", value))


def _write_text(encoder: cbor2.CBOREncoder, value: str) -> None:
    """Write text, which is UTF-8 in CBOR and so cannot hold the unpaired surrogates that JSON may hold."""
    encoder.encode_string(value.encode("utf-8", "replace").decode())
