"""YAML as Jackson's ``YAMLParser`` and ``YAMLGenerator``, over SnakeYAML, read and write it."""

import codecs
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from io import StringIO
from typing import Any, Final, Protocol

import yaml

from rerank_proxy.app.formats.yaml_emitter import WIDTH, SnakeEmitter
from rerank_proxy.app.formats.yaml_scalars import needs_quotes, scalar_to_json
from rerank_proxy.errors import Cause, ElasticsearchError
from rerank_proxy.xcontent.faults import MAX_DEPTH, too_deep, too_many_values
from rerank_proxy.xcontent.java_numbers import print_double
from rerank_proxy.xcontent.text import MAX_READ_VALUES


class _Mark(Protocol):
    """A place in a text, as PyYAML or libyaml tells it."""

    line: int
    column: int


_UTF16: Final = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_Loader: Final = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def read(body: bytes) -> bytes:
    """Read a request body; return it as compact JSON, or nothing if it holds no document.

    Anchors mean nothing and an alias is its own name, because Jackson resolves neither.

    Raises:
        ElasticsearchError: 400 for a malformed body, and for one with more than `MAX_READ_VALUES` values.
    """
    if body[:2] in _UTF16:  # which the parser would read, and Elasticsearch's does not
        reason = f"Invalid UTF-8 start byte 0x{body[0]:x}"
        raise _parse_error(reason, None, Cause("jackson_y_a_m_l_parse_exception", reason))
    try:
        return "".join(_to_json(_bounded(yaml.parse(body, Loader=_Loader)))).encode()
    except yaml.YAMLError as failure:
        raise _malformed(failure) from None


def _bounded(events: Iterable[yaml.Event]) -> Iterator[yaml.Event]:
    """Refuse what would take long: libyaml's time grows with the square of the depth."""
    depth = nodes = 0
    for event in events:
        if isinstance(event, yaml.NodeEvent):
            nodes += 1
            if nodes > MAX_READ_VALUES:
                raise too_many_values(MAX_READ_VALUES, "names and values of a body in YAML")
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > MAX_DEPTH:
            raise too_deep(0)
        yield event


@dataclass(slots=True)
class _Open:
    """An object or array, and how many nodes it has so far; the names of an object count."""

    is_object: bool
    nodes: int = 0

    @property
    def before_name(self) -> bool:
        return self.is_object and self.nodes % 2 == 0

    def separator(self) -> str:
        if self.is_object and self.nodes % 2 == 1:
            return ":"
        return "," if self.nodes else ""


def _to_json(events: Iterable[yaml.Event]) -> Iterator[str]:
    opened: list[_Open] = []
    documents = 0
    for event in events:
        if isinstance(event, yaml.DocumentStartEvent):
            documents += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            yield "}" if opened.pop().is_object else "]"
        elif isinstance(event, yaml.NodeEvent):
            if documents > 1:
                reason = "Unexpected token found after the main object."
                raise ElasticsearchError(400, Cause("parsing_exception", reason))
            yield from _node(event, opened[-1] if opened else None)
            if isinstance(event, yaml.CollectionStartEvent):
                opened.append(_Open(isinstance(event, yaml.MappingStartEvent)))


def _node(event: yaml.NodeEvent, parent: _Open | None) -> Iterator[str]:
    is_name = parent is not None and parent.before_name
    if parent is not None:
        yield parent.separator()
        parent.nodes += 1
    if isinstance(event, yaml.ScalarEvent):
        if is_name:
            yield json.dumps(event.value, ensure_ascii=False)
        else:
            yield scalar_to_json(event.value, event.tag, plain=not event.style)
    elif is_name:
        reason = "Expected a field name (Scalar value in YAML)"
        raise _parse_error(reason, event.start_mark, Cause("json_parse_exception", reason))
    elif isinstance(event, yaml.AliasEvent):
        yield json.dumps(event.anchor, ensure_ascii=False)
    else:
        yield "{" if isinstance(event, yaml.MappingStartEvent) else "["


def _malformed(failure: yaml.YAMLError) -> ElasticsearchError:
    if not isinstance(failure, yaml.MarkedYAMLError):
        reason = str(getattr(failure, "reason", failure))
        inner = Cause("reader_exception", reason)
        return _parse_error(reason, None, Cause("jackson_y_a_m_l_parse_exception", reason, caused_by=inner))
    lines = []
    for text, mark in ((failure.context, failure.context_mark), (failure.problem, failure.problem_mark)):
        if text is not None:
            lines.append(text)
            if mark is not None:
                lines.append(f" in 'reader', line {mark.line + 1}, column {mark.column + 1}")
    reason = "\n".join(lines)
    kind = "scanner_exception" if isinstance(failure, yaml.scanner.ScannerError) else "parser_exception"
    cause = Cause("marked_y_a_m_l_exception", reason, caused_by=Cause(kind, reason))
    return _parse_error(reason, failure.problem_mark or failure.context_mark, cause)


def _parse_error(reason: str, mark: _Mark | None, cause: Cause) -> ElasticsearchError:
    line, column = (mark.line + 1, mark.column + 1) if mark is not None else (1, 1)
    located = f"[{line}:{column}] {reason}"
    return ElasticsearchError(400, Cause("x_content_parse_exception", located, caused_by=cause))


def write(body: bytes) -> bytes:
    """Write a JSON answer in YAML: text in double quotes, names without if possible, numbers as Java's."""
    answer = json.loads(body.decode("utf-8", "surrogatepass"), parse_float=_number)
    out = StringIO()
    emitter = SnakeEmitter(out, width=WIDTH, allow_unicode=True)
    emitter.emit(yaml.StreamStartEvent())
    emitter.emit(yaml.DocumentStartEvent(explicit=True))
    _emit(emitter, answer)
    emitter.emit(yaml.DocumentEndEvent(explicit=False))
    emitter.emit(yaml.StreamEndEvent())
    return out.getvalue().encode("utf-8", "surrogatepass")


class _Number(str):
    """A number with a fraction, as it is to be printed."""


def _number(spelling: str) -> _Number:
    return _Number(print_double(float(spelling)))


def _emit(emitter: SnakeEmitter, value: Any) -> None:
    if isinstance(value, dict):
        emitter.emit(yaml.MappingStartEvent(None, None, implicit=True, flow_style=False))
        for name, item in value.items():
            emitter.emit(_scalar(name, quoted=needs_quotes(name)))
            _emit(emitter, item)
        emitter.emit(yaml.MappingEndEvent())
    elif isinstance(value, list):
        emitter.emit(yaml.SequenceStartEvent(None, None, implicit=True, flow_style=False))
        for item in value:
            _emit(emitter, item)
        emitter.emit(yaml.SequenceEndEvent())
    elif isinstance(value, str):
        emitter.emit(_scalar(value, quoted=not isinstance(value, _Number)))
    else:
        emitter.emit(_scalar(json.dumps(value), quoted=False))


def _scalar(text: str, *, quoted: bool) -> yaml.ScalarEvent:
    return yaml.ScalarEvent(None, None, (True, True), text, style='"' if quoted else None)
