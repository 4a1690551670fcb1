"""What edge and application say to each other about a request that the edge holds, in one header."""

from typing import Final

HEADER: Final = "x-rerank-proxy"

PASS: Final = "pass"
"""Of an answer of the application's: the request is upstream's, as it came."""
TRY: Final = "try"
"""The same, but if upstream answers 403, the application wants to look at the request again: upstream may no
longer have the licence that it had.
"""
REFUSED: Final = "refused"
"""Of a request: upstream has answered 403 to it."""
