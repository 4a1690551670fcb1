"""Which of several faults of an `_msearch` Elasticsearch would report, found by asking it.

Elasticsearch reads all items before it runs any, and refuses the whole request for the first that it cannot
read, else for all that are not valid together (``MultiSearchRequest#validate``). Faults of items that only
upstream reads may come before ours, or between them. So upstream is sent those items with stand-ins in the
place of ours: for each a fault of the same kind that it is sure to report. Nothing runs.
"""

from collections.abc import Sequence
from typing import Final

from rerank_proxy.errors import ElasticsearchError, validation_error
from rerank_proxy.search.msearch.lines import VALIDATION, Item, error_of
from rerank_proxy.upstream.protocol import Reply

Fault = ElasticsearchError | None

_UNREADABLE: Final = Item(b'{"rerank-proxy":0}', b"{}")
_UNREADABLE_REASON: Final = "key [rerank-proxy] is not supported in the metadata section"
_INVALID: Final = Item(
    b"{}",
    b'{"retriever":{"standard":{}},"query":{"match_all":{}},"search_after":[0],"terminate_after":1,'
    b'"sort":["_doc"],"rescore":{"query":{"rescore_query":{"match_all":{}}}}}',
)
_INVALID_MESSAGE: Final = (
    "cannot specify [retriever] and [query, search_after, terminate_after, sort, rescore]"
)
"""One that no client is likely to get for an item of its own."""


def verdict(faults: Sequence[ElasticsearchError]) -> ElasticsearchError:
    """What the faults of some items, in their order, make of the request when the others have none."""
    unreadable = next((fault for fault in faults if not _is_validation(fault)), None)
    return unreadable or validation_error(message for fault in faults for message in _messages(fault))


def rehearsal(items: Sequence[Item], foreign: Sequence[bool], faults: Sequence[Fault]) -> bytes | None:
    """The body of an `_msearch` with the items that upstream reads, and stand-ins for the others' faults.

    Args:
        foreign: For each item whether it goes upstream as it is.
        faults: For each item what is wrong with it, as far as it is known here; what is wrong with the
            lines after the last item, too.

    Returns:
        None when none of upstream's items can matter.
    """
    last = next((at for at, fault in enumerate(faults) if fault and not _is_validation(fault)), len(faults))
    if not any(foreign[:last]):
        return None
    sent = []
    for at, fault in enumerate(faults[: last + 1]):
        if fault is not None:
            sent.append(_INVALID if _is_validation(fault) else _UNREADABLE)
        elif at < len(items) and foreign[at]:
            sent.append(items[at])
    return b"".join(item.lines() for item in sent)


def conclude(reply: Reply, faults: Sequence[ElasticsearchError]) -> ElasticsearchError | Reply:
    """What the client is told after a rehearsal: our faults, or upstream's answer."""
    type_, reason = error_of(reply.body)
    own = verdict(faults)
    if reply.status == 200:
        return own
    if not _is_validation(own):
        return own if reason == _UNREADABLE_REASON else reply
    if type_ != VALIDATION:
        return reply
    ours = iter([_messages(fault) for fault in faults])
    merged: list[str] = []
    for message in split_messages(reason):
        merged.extend(next(ours, [message]) if message == _INVALID_MESSAGE else [message])
    return validation_error(merged)


def split_messages(reason: str) -> list[str]:
    """The messages of an ``ActionRequestValidationException``, which numbers them."""
    rest = reason.removeprefix("Validation Failed: 1: ").removesuffix(";")
    messages: list[str] = []
    start = 0
    while (end := rest.find(mark := f";{len(messages) + 2}: ", start)) >= 0:
        messages.append(rest[start:end])
        start = end + len(mark)
    return [*messages, rest[start:]]


def _messages(fault: ElasticsearchError) -> list[str]:
    return split_messages(fault.cause.reason)


def _is_validation(fault: ElasticsearchError) -> bool:
    return fault.cause.type == VALIDATION
