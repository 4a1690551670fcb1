"""What is kept after searches and clicks: nothing that tells of users, of what they ask, or what they see."""

import asyncio
import gc
import json
import logging
from collections.abc import Iterator
from types import FunctionType, ModuleType
from typing import Any, Final

import pytest

from rerank_proxy.online.search_ids import HEADER
from testbed import RunningElasticsearch
from tests.live.conftest import MakeIndex
from tests.support.online import Online
from tests.support.search_app import search_app
from tests.support.searches import reranking
from tests.support.waiting import until_true

MARK: Final = "a8f3c1"
"""Is in all that must not be kept."""
CREDENTIALS: Final = {"Authorization": f"Bearer {MARK}-token", "X-Opaque-Id": f"{MARK}-opaque"}


_OF_ALL: Final = type, ModuleType, logging.Logger, asyncio.AbstractEventLoop
"""What many refer to, and what leads to all that is going on."""


def held(*roots: object) -> Iterator[str]:
    """Yield all text and bytes that objects lead to, but for code."""
    seen: set[int] = set()
    left = [*roots]
    while left:
        each = left.pop()
        if id(each) in seen or isinstance(each, _OF_ALL):
            continue
        seen.add(id(each))
        if isinstance(each, (str, bytes, bytearray)):
            yield each if isinstance(each, str) else each.decode("latin-1")
        left += each.__closure__ or () if isinstance(each, FunctionType) else gc.get_referents(each)


@pytest.mark.parametrize("part", [{}, {"shadow_share": 1.0}, {"interleave_share": 1.0}])
async def test_nothing_is_kept_of_queries_users_and_documents(
    elasticsearch: RunningElasticsearch,
    make_index: MakeIndex,
    caplog: pytest.LogCaptureFixture,
    part: dict[str, Any],
) -> None:
    caplog.set_level(logging.DEBUG, "rerank_proxy")
    index = make_index([{"text": f"film {MARK} 1"}])
    elasticsearch.server.call("PUT", f"/{index}/_doc/{MARK}-id?refresh", {"text": f"film {MARK} 2"})
    body = reranking({"standard": {"query": {"match": {"text": f"film {MARK}"}}}}, inference_text=MARK)
    online = Online(enabled=True, **part)
    async with search_app(elasticsearch.url, online=online) as app:
        answer = await app.search(index, body, f"preference={MARK}", headers=CREDENTIALS)
        assert f"{MARK}-id" in answer.ids
        clicks = {"clicks": [{"search": answer.headers[HEADER], "documents": [f"{MARK}-id"]}]}
        if "shadow_share" in part:
            await until_true(lambda: online.counted.shadows["scored"] == 1)
            await online.trials.close()  # which waits for the task to be gone
        assert online.clicks.answer(json.dumps(clicks).encode()) == (200, {"clicks": {"counted": 1}})
        texts = [*held(online)]
    assert answer.headers[HEADER] in texts, "what is held is found"
    assert [text for text in texts if MARK in text or index in text] == []
    assert MARK not in caplog.text
