"""TREC's topics. The older ones are SGML, which is not XML: tags need not be closed, and text is not escaped.

    <top>
    <num> Number: 301
    <title> International Organized Crime
    <desc> Description:
    …
    </top>

Others are XML, as those of the Web track and of TREC-COVID, and CLEF's:

    <topic number="1"><query>coronavirus origin</query><question>…</question></topic>
    <topic><identifier>C041</identifier><title>Pesticides in Baby Food</title></topic>

The query is the title, as is usual, or what is called the query. Its id is the number.
"""

import re
from collections.abc import Iterable, Iterator
from html import unescape
from typing import Final

from rerank_proxy.relevance.formats.lines import Line
from rerank_proxy.relevance.formats.rows import Row

_BEGIN: Final = re.compile(r"<(top|topic)(?=[\s>])([^<>]*)>", re.IGNORECASE)
_END: Final = re.compile(r"</(?:top|topic)\s*>", re.IGNORECASE)
_ATTRIBUTE: Final = re.compile(r"""\b(?:number|id|num)\s*=\s*["']([^"'<>]*)["']""", re.IGNORECASE)
_AROUND: Final = re.compile(r"<[^<>]*>")
"""A tag around all topics, a declaration or a comment."""
_TAG: Final = re.compile(r"<(/?)(?:[A-Za-z]{2}-)?(\w+)\b[^<>]*>")
"""A tag, of which CLEF begins some with a language: <EN-title>."""
_ENTITY: Final = re.compile(r"&(?:amp|lt|gt|quot|apos|#[0-9]{1,7}|#x[0-9A-Fa-f]{1,6});")
_CDATA: Final = re.compile(r"<!\[CDATA\[([^<>\]]*)\]\]>")
_LABEL: Final = re.compile(r"(?:number|topic|query)\s*:\s*", re.IGNORECASE)
_NUMBERS: Final = ("num", "identifier", "number")
_TEXTS: Final = ("title", "query")
_SECTIONS: Final = frozenset(
    {"desc", "description", "narr", "narrative", "question", "dom", "con", "fac", "def", "smry", "head"}
    | {*_NUMBERS, *_TEXTS}
)


def topics_of(lines: Iterable[Line]) -> Iterator[Row]:
    """Yield the queries of topics, each with the line where its topic begins.

    Raises:
        FormatError: A topic has no number, no title, or no end.
    """
    begin: Line | None = None
    parts: list[str] = []
    attributes = ""
    for line in lines:
        text = line.text
        while text.strip():
            if begin is None:
                found = _BEGIN.search(text)
                if _AROUND.sub("", text[: found.start()] if found else text).strip():
                    raise line.fault("stands outside of a topic: expected <top>, or <topic number=…>")
                if found is None:
                    break
                begin, parts, attributes, text = line, [], found[2], text[found.end() :]
            end = _END.search(text)
            part = text[: end.start()] if end else text
            if _BEGIN.search(part):
                raise begin.fault("the topic has no end: expected </top>, or </topic>")
            parts.append(part)
            if end is None:
                break
            yield _query(begin, attributes, "\n".join(parts))
            begin, text = None, text[end.end() :]
    if begin is not None:
        raise begin.fault("the topic has no end: expected </top>, or </topic>")


def _query(begin: Line, attributes: str, topic: str) -> Row:
    sections = _sections(topic)
    named = _ATTRIBUTE.search(attributes)
    given = named[1] if named else next((sections[name] for name in _NUMBERS if name in sections), "")
    number = _LABEL.sub("", given, count=1).strip()
    if not number:
        raise begin.fault('the topic has no number: expected <num> Number: …, or <topic number="…">')
    text = next((sections[name] for name in _TEXTS if sections.get(name, "").strip()), "")
    if not sections and not _TAG.search(topic):
        text = _text(topic)  # it has nothing but the text
    title = " ".join(re.sub(r"^\s*topic\s*:\s*", "", text, flags=re.IGNORECASE).split())
    if not title:
        raise begin.fault(f"topic {number} has no title: expected <title> …, or <query> …")
    return Row(begin, begin.id(number, "number of the topic"), begin.query_text(title), None)


def _sections(topic: str) -> dict[str, str]:
    """Return the text behind each tag, up to the next one. Other tags belong to the text."""
    places = [tag for tag in _TAG.finditer(topic) if tag[2].lower() in _SECTIONS]
    ends = [tag.start() for tag in places]
    found: dict[str, str] = {}
    for tag, end in zip(places, [*ends[1:], len(topic)], strict=False):
        if not tag[1]:
            found.setdefault(tag[2].lower(), _text(topic[tag.end() : end]))
    return found


def _text(markup: str) -> str:
    """Return what a text of XML says. SGML's has no such escapes."""
    return _ENTITY.sub(lambda found: unescape(found[0]), _CDATA.sub(r"\1", markup))
