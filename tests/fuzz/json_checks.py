"""JSON: read with positions, searched for a name, taken apart and put together. The oracle is `json`."""

import json
from collections.abc import Iterator
from contextlib import suppress
from typing import Any, Final

import cbor2
import yaml

from rerank_proxy.app.formats.filter_path import filtered
from rerank_proxy.edge.detection import WORD, Detection, Scanner
from rerank_proxy.errors import ElasticsearchError
from rerank_proxy.search.answer.reply import from_final
from rerank_proxy.search.inner.window import read_window
from rerank_proxy.xcontent import source
from rerank_proxy.xcontent.faults import MAX_DEPTH, MAX_DIGITS
from rerank_proxy.xcontent.pretty import pretty_print
from rerank_proxy.xcontent.source import ARRAY, NUMBER, OBJECT, Node
from rerank_proxy.xcontent.splicing import Printer, elements, members, names
from tests.fuzz.pieces import choose, in_pieces

_NOT_JSON: Final = (ValueError, RecursionError)


def _refuse(_constant: str) -> Any:
    raise ValueError("JSON has no such number")


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    read = dict(pairs)
    if len(read) < len(pairs):
        raise ValueError("a name is given twice")
    return read


def by_library(data: bytes) -> Any:
    """Return what the standard library reads.

    Raises:
        ValueError: It is no JSON, or names something twice.
    """
    text = data.decode("utf-8", "surrogatepass")
    return json.loads(text, object_pairs_hook=_distinct, parse_constant=_refuse, parse_int=float)


def _value(node: Node, depth: int = 0) -> Any:
    if depth > MAX_DEPTH:
        raise ValueError("too deep")
    if node.kind == OBJECT:
        return {name: _value(child, depth + 1) for name, child in node.members.items()}
    if node.kind == ARRAY:
        return [_value(child, depth + 1) for child in node.items]
    return float(node.raw) if node.kind == NUMBER else node.scalar()


def check_source(data: bytes) -> None:
    """What is accepted has the value that the library reads; what it reads is accepted, up to the limits."""
    body = data.removeprefix(b"\xef\xbb\xbf")
    try:
        read = _value(source.parse(data))
    except ElasticsearchError as fault:
        assert fault.status == 400
        _check_refused(body)
        return
    except _NOT_JSON:
        return
    root = source.parse(data)
    end = root.end  # at native speed, as nothing has been read of it
    assert source.parse(data).raw == data[root.start : end]
    if b"/" in body:  # perhaps a comment, which the library does not know
        return
    # Behind a value that is complete nothing is read, as in Elasticsearch, which then finds the rest.
    assert _same(by_library(_without_rest(body, end - (len(data) - len(body)))), read)


def _without_rest(body: bytes, end: int) -> bytes:
    return body[:end]


def _same(one: Any, other: Any) -> bool:
    return repr(one) == repr(other)


def _check_refused(body: bytes) -> None:
    try:
        value = by_library(body)
    except _NOT_JSON:
        return
    too_deep = body.count(b"[") + body.count(b"{") > MAX_DEPTH
    too_long = len(body) > MAX_DIGITS
    assert too_deep or too_long or b"\x0b" in body or b"\x0c" in body, f"refused, though it is {value!r}"


def check_detection(data: bytes) -> None:
    """A body that holds the name as a string, in any spelling and any format, is found, however it comes."""
    encoding, rest = choose(data, ("utf-8", "utf-16-le", "utf-16-be", "utf-32-le", "cbor", "yaml"))
    pieces, whole = in_pieces(rest)
    if encoding.startswith("utf-") and encoding != "utf-8":
        with suppress(UnicodeDecodeError):
            whole = whole.decode("utf-8", "surrogatepass").encode(encoding, "surrogatepass")
            size = len(pieces[0]) if pieces else 1
            pieces = [whole[at : at + size] for at in range(0, len(whole), size)]
    found = [_scan(way, is_cbor=encoding == "cbor") for way in ([whole], pieces)]
    if any(text == WORD.decode() for text in _texts(_read_as(encoding, whole))):
        assert found == [Detection.FOUND] * 2, "the name is missed"


def _scan(pieces: list[bytes], *, is_cbor: bool) -> Detection:
    scanner = Scanner(is_cbor=is_cbor)
    for piece in pieces:
        scanner.feed(piece)
    return scanner.result


def _read_as(encoding: str, whole: bytes) -> Any:
    try:
        if encoding == "cbor":
            return cbor2.loads(whole, max_depth=100)
        if encoding == "yaml":
            return [event.value for event in yaml.parse(whole) if isinstance(event, yaml.ScalarEvent)]
        return json.loads(whole.decode(encoding))
    except (cbor2.CBORError, yaml.YAMLError, *_NOT_JSON):
        return None


def _texts(value: Any) -> Iterator[str]:
    pending = [value]
    while pending:
        one = pending.pop()
        if isinstance(one, dict):
            pending += [*one.keys(), *one.values()]
        elif isinstance(one, list | tuple):
            pending += one
        elif isinstance(one, str):
            yield one


def check_splicer(data: bytes) -> None:
    """What is taken apart holds what the library reads, and goes together again."""
    try:
        value = json.loads(data.decode("utf-8"), object_pairs_hook=_distinct, parse_constant=_refuse)
    except _NOT_JSON:
        value = None
        with suppress(ElasticsearchError, TypeError, ValueError):
            members(data)
        with suppress(ElasticsearchError, TypeError, ValueError):
            elements(data)
    if isinstance(value, dict):
        _check_object(data, value)
    elif isinstance(value, list):
        assert _same([json.loads(each) for each in elements(data)], value)
        assert _same(json.loads(Printer(False).array(elements(data), 0)), value)


def _check_object(data: bytes, value: dict[str, Any]) -> None:
    parts = members(data)
    assert names(data) == [*value]
    assert _same({name: json.loads(part) for name, part in parts.items()}, value)
    for pretty in (False, True):
        printed = Printer(pretty).object(parts, 0)
        assert _same(json.loads(printed), value)
        assert members(printed) == parts
    assert _same(json.loads(pretty_print(data)), value)
    _check_filtered(data.strip(), value)
    with suppress(ValueError, TypeError, KeyError, ElasticsearchError):
        answer = from_final(data, 7, own_pit=True)
        expected = {**value, "took": 7}
        expected.pop("pit_id", None)
        assert _same(json.loads(answer), expected)
    with suppress(ValueError, TypeError, KeyError, ElasticsearchError):
        read_window(data, "text")


def _check_filtered(data: bytes, value: dict[str, Any]) -> None:
    """Filters keep what they name, and nothing else."""
    for name in value:
        if not name.strip() or set(name) & set("*.,\\- ") or name != name.strip():
            continue
        kept = json.loads(filtered(data, name) or b"{}")
        assert _same(kept, {name: value[name]}) or value[name] in ({}, []) or _is_hollow(value[name])
        left = json.loads(filtered(data, f"-{name}") or b"{}")
        assert name not in left
        return


def _is_hollow(value: Any) -> bool:
    """Return whether nothing is in it but empty objects and arrays, which filters leave out."""
    return isinstance(value, dict | list)
