"""Places in the body of a search, for the person who wrote its template.

An error names a line and a column of the body that was sent. That is not the text that someone wrote:
templates are YAML or JSON, may be a retriever alone, and have a query filled in. What is the same in both are
the names of the members.
"""

import re
from collections.abc import Iterator
from typing import Final

from rerank_proxy.errors import ElasticsearchError
from rerank_proxy.xcontent.positions import offset_of
from rerank_proxy.xcontent.source import Node, parse

_PLACE: Final = re.compile(r"\[(\d{1,9}):(\d{1,9})\]")


def by_names(reason: str, body: bytes) -> str:
    """Return a reason with names in place of each line and column in a body.

    The names are those within the retriever, if there is one, since a template may be a retriever alone:
    `[1:40]` becomes `[standard.query.match]`.
    """

    def names(place: re.Match[str]) -> str:
        offset = offset_of(body, int(place[1]), int(place[2]))
        try:
            path = [*_path(parse(body), offset)] if offset < len(body) else []
        except ElasticsearchError:
            path = []
        within = path[1:] if path[:1] == ["retriever"] else path
        return f"[{'.'.join(within)}]" if within else place[0]

    return _PLACE.sub(names, reason)


def _path(node: Node, offset: int) -> Iterator[str]:
    """Yield the names and numbers that lead to the innermost value that an offset is in, or in whose name."""
    children = node.entries() if node.members else enumerate(node.items)
    for name, child in children:
        if node.start < offset < child.end:
            yield str(name)
            yield from _path(child, offset)
            return
