"""`POST /clicks`: what users have clicked, as an application tells it."""

from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

from rerank_proxy.errors import ElasticsearchError, illegal_argument
from rerank_proxy.online.clicks import SearchClicks, read_clicks
from rerank_proxy.online.memory import Clicked, ClickMemory

_OF_KNOWN_SEARCHES = ("counted", "duplicate", "not_shown")


class ClicksApi:
    """Counts clicks.

    Args:
        is_on: Returns whether they are counted at present.
    """

    def __init__(self, memory: ClickMemory, is_on: Callable[[], bool]) -> None:
        self._memory = memory
        self._is_on = is_on

    def answer(self, body: bytes) -> tuple[int, Mapping[str, Any]]:
        """Count what a body tells.

        Returns:
            The status, and the number of documents by what became of them: 200 if one of the searches at
            least is remembered, 404 if none is. Or an error's status and body.
        """
        try:
            if not self._is_on():
                raise illegal_argument("no clicks are counted: [online.enabled] is [false]")
            clicks = read_clicks(body)
        except ElasticsearchError as failure:
            return failure.status, failure.body()
        outcomes = Counter[str]()
        for each in clicks:
            outcomes.update(self._memory.click(each.search, _documents(each)))
        is_known = any(outcomes[outcome] for outcome in _OF_KNOWN_SEARCHES)
        return 200 if is_known else 404, {"clicks": dict(outcomes)}


def _documents(clicks: SearchClicks) -> list[Clicked]:
    return [
        Clicked(each) if isinstance(each, str) else Clicked(each.id, each.index) for each in clicks.documents
    ]
