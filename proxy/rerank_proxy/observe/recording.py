"""How the recording of one request is asked for, and what the parts of a search tell of their work.

`search.recording` says what a recording consists of.
"""

from collections.abc import Awaitable, Callable, Sequence
from typing import Final, NamedTuple

from rerank_proxy.http import handover

HEADER: Final = handover.RECORD
"""Of a request: the key of its recording, which is good for one request. Keys come from the application's
control socket alone (`POST /recordings`), as does what was recorded (`GET /recordings/KEY`, once). Any other
value is as good as none.
"""

Span = tuple[int, int]
"""The first character of a chunk in its text, and the one behind its last."""


class Around(NamedTuple):
    """What a model reads around a text, as its tokens say it: prompts, special tokens, the query.

    Attributes:
        before, after: What is read in one with the text.
        apart: What is read of the query, where that is read by itself.
    """

    before: str
    after: str
    apart: str | None = None


class Seen(NamedTuple):
    """What a model reads of one text. Unknown things are None.

    Attributes:
        tokens: Those that it reads for the text, with all that it reads beside it: special tokens, and the
            query where it reads both together.
        cut_at: The character from which on it reads nothing; None if it reads all.
        around: Of a text that is divided, that of its beginning.
    """

    tokens: int | None = None
    cut_at: int | None = None
    around: Around | None = None


Read = Callable[[Sequence[str]], Awaitable[Sequence[Seen]]]
"""Finds out what a model reads of texts, which costs as much as tokenising them."""
