"""First-fault resolution: which of several faults of an `_msearch` Elasticsearch would report.

Elasticsearch reads all items before it runs any, and refuses the whole request for the first that it cannot
read, else for all that are not valid together (``MultiSearchRequest#validate``). Faults of items that only
upstream reads may come before those that are found here, or between them. So upstream is sent its items with
stand-ins in the place of the others: for each fault that was found here one of the same kind that upstream is
sure to report. Nothing runs.
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
"""No client is likely to get this one for an item of its own."""


def first_fault(faults: Sequence[ElasticsearchError]) -> ElasticsearchError:
    """Return the failure of a request whose items have these faults, in their order, and no others."""
    unreadable = next((fault for fault in faults if not _is_validation(fault)), None)
    return unreadable or validation_error(message for fault in faults for message in _messages(fault))


def probe(items: Sequence[Item], sent_on: Sequence[bool], faults: Sequence[Fault]) -> bytes | None:
    """Return the body of a probe: an `_msearch` that has upstream report its faults among those found here.

    Args:
        sent_on: For each item whether it goes upstream as it is.
        faults: For each item what is wrong with it, as far as it is known here; what is wrong with the
            lines after the last item, too.

    Returns:
        None if no fault of an item that goes upstream can come first.
    """
    last = next((at for at, fault in enumerate(faults) if fault and not _is_validation(fault)), len(faults))
    if not any(sent_on[:last]):
        return None
    sent = []
    for at, fault in enumerate(faults[: last + 1]):
        if fault is not None:
            sent.append(_INVALID if _is_validation(fault) else _UNREADABLE)
        elif at < len(items) and sent_on[at]:
            sent.append(items[at])
    return b"".join(item.lines() for item in sent)


def resolve(reply: Reply, faults: Sequence[ElasticsearchError]) -> ElasticsearchError | Reply:
    """Return what the client is told: what was found here, or upstream's answer.

    Args:
        reply: Upstream's answer to the probe.
        faults: Those that were found here, in the order of their items.
    """
    type_, reason = error_of(reply.body)
    own = first_fault(faults)
    if reply.status == 200:
        return own
    if not _is_validation(own):
        return own if reason == _UNREADABLE_REASON else reply
    if type_ != VALIDATION:
        return reply
    found_here = iter([_messages(fault) for fault in faults])
    merged: list[str] = []
    for message in split_messages(reason):
        merged.extend(next(found_here, [message]) if message == _INVALID_MESSAGE else [message])
    return validation_error(merged)


def split_messages(reason: str) -> list[str]:
    """Return the messages in the reason of an ``ActionRequestValidationException``, which numbers them."""
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
