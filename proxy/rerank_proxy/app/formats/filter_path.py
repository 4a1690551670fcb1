"""`filter_path`: the parts of an answer that paths name, by ``FilterPath`` and ``FilterPathBasedFilter``."""

import enum
import re
from collections.abc import Iterable, Iterator
from typing import Final

from rerank_proxy.wildcards import matches
from rerank_proxy.xcontent.faults import MAX_DEPTH
from rerank_proxy.xcontent.splicing import Printer, elements, members

_SPLIT: Final = re.compile(r"((?:\\\.|[^.])++)\.(.*)", re.DOTALL)


def filtered(body: bytes, paths: str) -> bytes:
    """Keep what the comma separated `paths` name, or all but what those with a leading `-` name.

    `*` stands for any part of a name, `**` for one or more names, `\\.` for a dot inside of a name; arrays
    are transparent. Of both kinds of paths, the inclusions go first. What is kept whole keeps its bytes.

    Args:
        body: An object as Elasticsearch prints it, compact or pretty.
    """
    tokens = [token for each in paths.split(",") if (token := each.strip())]
    included = _compile(token for token in tokens if not token.startswith("-"))
    excluded = _compile(token[1:].strip() for token in tokens if token.startswith("-"))
    printer = Printer.like(body)
    if included is not None:
        body = _filter(body, _Matcher((included,)), printer, inclusive=True)
    if excluded is not None:
        body = _filter(body, _Matcher((excluded,)), printer, inclusive=False)
    return body


class _Path:
    """A node of the tree of all paths."""

    __slots__ = ("final", "pattern", "terms", "wildcards")

    def __init__(self, pattern: str) -> None:
        self.pattern = pattern
        self.final = False
        self.terms: dict[str, _Path] = {}
        self.wildcards: dict[str, _Path] = {}

    def insert(self, path: str) -> None:
        node = self
        while not node.final:
            split = _SPLIT.fullmatch(path)
            name = (split[1] if split else path).replace("\\.", ".")
            children = node.wildcards if "*" in name else node.terms
            node = children.setdefault(name, _Path(name))
            if split is None:
                node.final = True
                return
            path = split[2]

    def matching(self, name: str) -> Iterator["_Path"]:
        """Return the nodes below that `name` leads to; a `**` is also below itself."""
        if (term := self.terms.get(name)) is not None:
            yield term
        for pattern, node in self.wildcards.items():
            if matches(pattern, name):
                yield node
        if self.pattern == "**":
            yield self


def _compile(paths: Iterable[str]) -> _Path | None:
    root = _Path("")
    for path in paths:
        if path:
            root.insert(path)
    return root if root.terms or root.wildcards else None


class _Verdict(enum.Enum):
    MATCH = enum.auto()
    NO_MATCH = enum.auto()


class _Matcher:
    """The places that all paths have reached after the names so far."""

    __slots__ = ("_known", "_nodes")

    def __init__(self, nodes: Iterable[_Path]) -> None:
        self._nodes = tuple(nodes)
        self._known: dict[str, _Matcher | _Verdict] = {}

    def member(self, name: str) -> "_Matcher | _Verdict":
        """Tell whether a path ends at this member, none leads to it, or some lead on.

        The answer is kept, because hits share a few names.
        """
        found = self._known.get(name)
        if found is None:
            found = self._known[name] = self._find(name)
        return found

    def _find(self, name: str) -> "_Matcher | _Verdict":
        nodes = dict.fromkeys(node for each in self._nodes for node in each.matching(name))
        if any(node.final for node in nodes):
            return _Verdict.MATCH
        return _Matcher(nodes) if nodes else _Verdict.NO_MATCH


class _Open:
    """An object or array that is being filtered."""

    __slots__ = ("is_object", "kept", "matcher", "name", "pending", "was_empty")

    def __init__(self, raw: bytes, matcher: _Matcher, name: str) -> None:
        self.is_object = raw.startswith(b"{")
        self.name = name
        self.matcher = matcher
        values = list(members(raw).items()) if self.is_object else [("", each) for each in elements(raw)]
        self.was_empty = not values
        self.pending = iter(values)
        self.kept: list[tuple[str, bytes]] = []

    def printed(self, printer: Printer, depth: int) -> bytes:
        """Return what is kept of it."""
        if self.is_object:
            return printer.object(dict(self.kept), depth)
        return printer.array((raw for _, raw in self.kept), depth)


def _filter(body: bytes, matcher: _Matcher, printer: Printer, *, inclusive: bool) -> bytes:
    """Keep what `matcher` finds, or all else.

    The stack is its own, because what users store may be nested deeper than Python calls.
    """
    opened = [_Open(body, matcher, "")]
    while True:
        current = opened[-1]
        inner = _advance(current, inclusive, len(opened))
        if inner is not None:
            opened.append(inner)
            continue
        opened.pop()
        if not opened:
            return printer.object(dict(current.kept), 0) + printer.end()
        # What was empty before does not count as a result of the filtering.
        if current.kept or (current.was_empty and not inclusive):
            opened[-1].kept.append((current.name, current.printed(printer, len(opened))))


def _advance(current: _Open, inclusive: bool, depth: int) -> _Open | None:
    """Decide on members or elements, up to one that has to be filtered itself."""
    for name, raw in current.pending:
        found = current.matcher.member(name) if current.is_object else current.matcher
        if isinstance(found, _Matcher):
            if raw[:1] in (b"{", b"[") and depth < MAX_DEPTH:
                return _Open(raw, found, name)
            found = _Verdict.NO_MATCH  # no path goes on into a scalar
        if (found is _Verdict.MATCH) is inclusive:
            current.kept.append((name, raw))
    return None
