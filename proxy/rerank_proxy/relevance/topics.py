"""TREC's topics in their SGML, which is not XML: tags need not be closed, and text is not escaped.

    <top>
    <num> Number: 301
    <title> International Organized Crime
    <desc> Description:
    …
    </top>

The query is the title, as is usual. Ids of the topics are what `Number:` says.
"""

import re
from collections.abc import Iterable, Iterator
from typing import Final

from rerank_proxy.relevance.judgments import Query
from rerank_proxy.relevance.lines import Line

_TAG: Final = re.compile(r"<(/?)(\w+)\b[^<>]*>")
_LABEL: Final = re.compile(r"(?:number|topic|query)\s*:\s*", re.IGNORECASE)
_SECTIONS: Final = frozenset({"num", "title", "desc", "narr", "dom", "con", "fac", "def", "smry", "head"})
_QUERY: Final = ("title", "query")


def topics_of(lines: Iterable[Line]) -> Iterator[tuple[Line, Query]]:
    """Yield the queries of topics, each with the line where its topic begins.

    Raises:
        FormatError: A topic has no number, no title, or no end.
    """
    begin: Line | None = None
    parts: list[str] = []
    for line in lines:
        text = line.text
        if begin is None:
            _, tag, behind = text.partition("<top>")
            if not tag:
                raise line.fault("stands outside of a topic: expected <top>")
            begin, parts, text = line, [], behind
        if "<top>" in text:
            raise begin.fault("the topic has no </top>")
        before, end, _ = text.partition("</top>")
        parts.append(before)
        if end:
            yield begin, _query(begin, "\n".join(parts))
            begin = None
    if begin is not None:
        raise begin.fault("the topic has no </top>")


def _query(begin: Line, topic: str) -> Query:
    sections = _sections(topic)
    number = _LABEL.sub("", sections.get("num", ""), count=1).strip()
    if not number:
        raise begin.fault("the topic has no number: expected <num> Number: …")
    text = next((sections[name] for name in _QUERY if sections.get(name, "").strip()), "")
    title = re.sub(r"^\s*topic\s*:\s*", "", text, flags=re.IGNORECASE)
    if not title.strip():
        raise begin.fault(f"topic {number} has no title: expected <title> …")
    return Query(begin.id(number, "number of the topic"), begin.query_text(" ".join(title.split())))


def _sections(topic: str) -> dict[str, str]:
    """Return the text behind each tag, up to the next one. Other tags belong to the text."""
    places = [tag for tag in _TAG.finditer(topic) if tag[2].lower() in _SECTIONS | {*_QUERY}]
    ends = [*(tag.start() for tag in places), len(topic)][1:]
    found: dict[str, str] = {}
    for tag, end in zip(places, ends, strict=True):
        if not tag[1]:
            found.setdefault(tag[2].lower(), topic[tag.end() : end])
    return found
