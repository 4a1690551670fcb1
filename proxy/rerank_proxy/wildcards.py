"""Patterns with `*`, the one wildcard of Elasticsearch's names."""


def matches(pattern: str, name: str) -> bool:
    """Return whether a name matches a pattern, in which `*` stands for any characters, and for none.

    Each piece between two is looked for where it comes first, which is enough, and takes no longer than
    reading the name.
    """
    first, *pieces = pattern.split("*")
    if not pieces:
        return pattern == name
    *middle, last = pieces
    if len(name) < len(first) + len(last) or not (name.startswith(first) and name.endswith(last)):
        return False
    place, end = len(first), len(name) - len(last)
    for piece in middle:
        place = name.find(piece, place, end)
        if place < 0:
            return False
        place += len(piece)
    return True
