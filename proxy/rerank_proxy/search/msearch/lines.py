"""The lines of an `_msearch`, and its answer (``MultiSearchRequest``, ``MultiSearchResponse``)."""

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote

import msgspec

from rerank_proxy.errors import ElasticsearchError, error, illegal_argument
from rerank_proxy.search.inner.window import search_answer
from rerank_proxy.search.language.detection import SIGNS
from rerank_proxy.xcontent.encodings import to_utf8
from rerank_proxy.xcontent.params import Params, parse_params
from rerank_proxy.xcontent.source import ARRAY, NULL, OBJECT, STRING, Node, parse, parse_array
from rerank_proxy.xcontent.splicing import Printer, elements, members
from rerank_proxy.xcontent.target import decode

_ALIASES: Final = {
    "allowNoIndices": "allow_no_indices",
    "ccsMinimizeRoundtrips": "ccs_minimize_roundtrips",
    "expandWildcards": "expand_wildcards",
    "ignoreThrottled": "ignore_throttled",
    "ignoreUnavailable": "ignore_unavailable",
    "indices": "index",
    "requestCache": "request_cache",
    "searchType": "search_type",
}
MAX_SEARCHES: Final = 10_000
"""Searches in one request of which some are answered here. Elasticsearch takes any number."""
VALIDATION: Final = "action_request_validation_exception"
_CCS: Final = "ccs_minimize_roundtrips"
_HEADER_KEYS: Final = frozenset(
    {
        "allow_no_indices", "allow_partial_search_results", "ccs_minimize_roundtrips", "expand_wildcards",
        "ignore_throttled", "ignore_unavailable", "index", "preference", "request_cache", "routing",
        "search_type",
    }
)  # fmt: skip
_URL_DEFAULTS: Final = frozenset(
    {
        "allow_no_indices", "ccs_minimize_roundtrips", "expand_wildcards", "ignore_throttled",
        "ignore_unavailable", "index", "routing", "search_type",
    }
)  # fmt: skip
_OF_EVERY_SEARCH: Final = frozenset(
    {
        "error_trace", "filter_path", "format", "human", "max_concurrent_shard_requests",
        "pre_filter_shard_size", "pretty", "rest_total_hits_as_int", "typed_keys",
    }
)  # fmt: skip
_compact: Final = Printer(pretty=False)
_not_on_one_line: Final = re.compile(
    rb'("(?:[^"\\\r\n]|\\[^\r\n])*+")|/\*.*?\*/|//[^\r\n]*+|[\r\n]++', re.DOTALL
)


@dataclass(frozen=True, slots=True)
class Item:
    """One search of a request: its two lines, without their ends."""

    header: bytes
    body: bytes

    def lines(self) -> bytes:
        return self.header + b"\n" + self.body + b"\n"


@dataclass(frozen=True, slots=True)
class MultiRequest:
    """A request, taken apart.

    Attributes:
        dangling: A last header without a body, which Elasticsearch reads and then forgets.
        terminated: Whether the last line ends; if not, Elasticsearch refuses the request when it gets there.
    """

    items: Sequence[Item]
    dangling: bytes
    terminated: bool


def retriever_lines(body: bytes) -> Iterator[bytes]:
    """Give the lines that are worth parsing, some of them twice."""
    for sign in SIGNS:
        end = 0
        while (place := body.find(sign, end)) >= 0:
            start = body.rfind(b"\n", 0, place) + 1
            end = body.find(b"\n", place)
            end = len(body) if end < 0 else end
            yield body[start:end]


def has_too_many(body: bytes) -> bool:
    """Tell whether a request has more than `MAX_SEARCHES`."""
    return body.count(b"\n") > 2 * MAX_SEARCHES


def too_many() -> ElasticsearchError:
    reason = f"rerank-proxy answers at most [{MAX_SEARCHES}] searches in one request that reranks"
    return illegal_argument(reason)


def split(body: bytes) -> MultiRequest:
    """Take a request apart: header and body lines in turn, each of an encoding of its own.

    Raises:
        ElasticsearchError: 400, a line is of no encoding.
    """
    *lines, rest = body.split(b"\n")
    if b"\0" in body:
        lines = [to_utf8(line) for line in lines]
    items = [Item(header, line) for header, line in zip(lines[::2], lines[1::2], strict=False)]
    return MultiRequest(items, lines[-1] if len(lines) % 2 else b"", terminated=not rest)


def not_terminated() -> ElasticsearchError:
    reason = "The msearch request must be terminated by a newline [\n]"
    return illegal_argument(reason)


def url_defaults(index: str | None, params: Params) -> dict[str, bytes]:
    """Return what the URL says for each header that does not say it itself, as members of a header.

    Args:
        index: The index expression of the path, as it came.
    """
    defaults = {name: _json(params[name]) for name in params if name in _URL_DEFAULTS}
    if index is not None:
        defaults["index"] = _json(decode(index))
    return defaults


def shared_query(params: Params) -> str:
    """Return the query string of an inner `_msearch`: the client's, less what is in each header already."""
    return params.without(_URL_DEFAULTS)


def with_defaults(items: Sequence[Item], defaults: Mapping[str, bytes]) -> list[Item]:
    """Give each item a header that needs no URL around it.

    A header that cannot be read stays as it is: Elasticsearch refuses it, in its own words.
    """
    completed: dict[bytes, bytes] = {}
    for item in items:
        if item.header not in completed:
            completed[item.header] = _completed(item.header, defaults)
    return [Item(completed[item.header], item.body) for item in items]


def _completed(line: bytes, defaults: Mapping[str, bytes]) -> bytes:
    try:
        header = {name: value.raw for name, value in _read_header(line).items()}
    except ElasticsearchError:
        return line
    keys = {_ALIASES.get(name, name): name for name in header}
    if _CCS in defaults and _CCS in keys:
        del header[keys.pop(_CCS)]  # the one option of which the URL's value is the stronger
    missing = {name: value for name, value in defaults.items() if name not in keys}
    return _compact.object({**header, **missing}, 0) if missing else line


def search_params(item: Item, params: Params) -> tuple[str | None, Params]:
    """Return the index expression and query string that a `_search` would have in place of the item's header.

    Args:
        params: Of the request's URL.

    Raises:
        ElasticsearchError: 400 for a header that Elasticsearch refuses.
    """
    pairs = [pair for pair in params.pairs if pair[0] in _OF_EVERY_SEARCH]
    index = None
    for name, value in _read_header(item.header).items():
        key = _ALIASES.get(name, name)
        if key not in _HEADER_KEYS:
            reason = f"key [{name}] is not supported in the metadata section"
            raise illegal_argument(reason)
        text = _text(value)
        if key == "index":
            if text is None:
                raise error(400, "parse_exception", "Expected a list of strings but got null")
            index = _quote(text) or None
        elif text is not None:
            pairs.append((key, text, f"{key}={_quote(text)}"))
    return index, Params(tuple(pairs))


def header_of(target: str) -> bytes:
    """Return the header line that stands for the path and query string of a `_search`."""
    path, _, query = target.partition("?")
    index = path.strip("/").rpartition("/")[0]
    header = {} if not index else {"index": _json(decode(index))}
    params = parse_params(query)
    header.update((name, _json(params[name])) for name in params if name in _HEADER_KEYS)
    return _compact.object(header, 0)


def one_line(body: bytes) -> bytes:
    """Return JSON without line ends, hence without comments too; of any other text, do the same."""
    if b"\n" not in body and b"\r" not in body:
        return body
    return _not_on_one_line.sub(lambda match: match[1] or b" ", body)


def take_apart(answer: bytes) -> list[tuple[int, bytes]]:
    """Return the status and body of each item, as a `_search` of its own would have been answered.

    Raises:
        ElasticsearchError, KeyError, TypeError, ValueError: It is not an answer to an `_msearch`.
    """
    printer = Printer.like(answer)
    return [_search_answer(item, printer) for item in elements(members(answer)["responses"])]


def _search_answer(item: bytes, printer: Printer) -> tuple[int, bytes]:
    item = _outdent(item) if printer.pretty else item
    parts = members(item)
    status = int(parts["status"])
    if status == 200:
        item = printer.object({k: v for k, v in search_answer(item).items() if k != "status"}, 0)
    elif "error" not in parts or not 400 <= status < 600:
        raise ValueError("neither an answer to a search nor an error")
    return status, item + printer.end()


def answered_item(body: bytes) -> bytes:
    """Return a `_search`'s answer as an item; its layout is kept."""
    whole = body.rstrip(b"\n")
    if Printer.like(body).pretty:
        return _indent(whole[: -len(b"\n}")] + b',\n  "status" : 200\n}')
    return whole[: -len(b"}")] + b',"status":200}'


def refused_item(body: bytes) -> bytes | None:
    """Return a `_search`'s error as an item, with the same members; None if it is not Elasticsearch's."""
    try:
        parts = members(body)
    except (ElasticsearchError, TypeError, UnicodeDecodeError):
        return None
    if not {"error", "status"}.issubset(parts):
        return None
    return _indent(body.rstrip(b"\n")) if Printer.like(body).pretty else body


def error_of(body: bytes) -> tuple[str, str]:
    """Return the type and reason of an error; both empty if it is not Elasticsearch's."""
    try:
        cause = msgspec.json.decode(body)["error"]
        return str(cause["type"]), str(cause["reason"])
    except (msgspec.DecodeError, KeyError, RecursionError, TypeError, UnicodeDecodeError):
        return "", ""


def failed_item(failure: ElasticsearchError, printer: Printer) -> bytes:
    """Return a failure of the proxy's as an item."""
    return printer.value(failure.body(), 2)


def put_together(items: Iterable[bytes], took_ms: int, printer: Printer) -> bytes:
    """Return the answer to the whole request."""
    body = {"took": b"%d" % took_ms, "responses": printer.array(items, 1)}
    return printer.object(body, 0) + printer.end()


def _read_header(line: bytes) -> Mapping[str, Node]:
    """Return the members of a header line; a blank one, or a scalar in its place, has none."""
    if not line.strip():
        return {}
    header = parse(line)
    if header.kind == ARRAY:
        reason = "[1:2] Unexpected token after end of object"
        raise error(400, "x_content_parse_exception", reason)
    return header.members if header.kind == OBJECT else {}


def _text(value: Node) -> str | None:
    """Return a header's value in the form that it has in a URL."""
    if value.kind == NULL:
        return None
    if value.kind == ARRAY:
        return ",".join(_text(parse(item)) or "" for item in parse_array(value.raw))
    return str(value.scalar()) if value.kind == STRING else value.raw.decode("utf-8", "replace")


def _quote(text: str) -> str:
    return quote(text, safe="", errors="replace")


def _json(text: str) -> bytes:
    return json.dumps(text).encode()


# `pretty` prints all anew: there is no line end in it but those of the layout.
def _indent(raw: bytes) -> bytes:
    return raw.replace(b"\n", b"\n    ")


def _outdent(raw: bytes) -> bytes:
    return raw.replace(b"\n    ", b"\n")
