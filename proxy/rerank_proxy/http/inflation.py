"""How long a compressed body may become. The edge measures by it, and the application decodes no further."""

from typing import Final

ALWAYS_ALLOWED: Final = 1024 * 1024
"""Decoded bytes that any compressed body may have: what is short may repeat itself a lot."""


def decoded_limit(coded: int, max_inflation: int, max_body: int) -> int:
    """Return the decoded bytes that a body of `coded` compressed bytes may have.

    Args:
        max_inflation: The setting `edge.max_inflation`.
        max_body: The setting `edge.max_body`, which bounds every body, decoded or not.
    """
    return min(max(coded * max_inflation, ALWAYS_ALLOWED), max_body)
