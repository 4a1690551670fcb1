"""From a body's `retriever` to a tree of retrievers (``RetrieverBuilder#parseTopLevelRetrieverBuilder``)."""

from typing import Final

from rerank_proxy.errors import unsupported
from rerank_proxy.search.language.raw_tree import MAX_RETRIEVERS, number_of_retrievers
from rerank_proxy.search.retrievers.retriever import Retriever
from rerank_proxy.search.retrievers.types import TOPMOST
from rerank_proxy.xcontent.object_parser import did_you_mean, parsing_error, unknown_name
from rerank_proxy.xcontent.source import OBJECT, Node

_NAMES: Final = {**TOPMOST.parsers, "random_reranker": None}
"""Those that a complete Elasticsearch suggests."""


def parse_retriever(node: Node) -> Retriever:
    """Read the value of a body's `retriever`.

    Raises:
        ElasticsearchError: 400, with Elasticsearch's type, reason and position; also for what Elasticsearch
            accepts and this proxy does not support yet.
    """
    if number_of_retrievers(node) > MAX_RETRIEVERS:
        raise unsupported(f"[retriever] of more than [{MAX_RETRIEVERS}] retrievers")
    entries = node.entries()
    name, inner = next(entries)
    if name not in TOPMOST.parsers:
        cause = unknown_name(node, inner.start, name).cause
        hint = "" if name in _NAMES else did_you_mean(name, _NAMES)
        raise parsing_error(node, inner.start, f"unknown retriever [{name}]{hint}", cause)
    if inner.kind != OBJECT:
        reason = f"[{name}] retriever malformed, no [START_OBJECT] after retriever name"
        raise parsing_error(node, inner.start, reason)
    retriever: Retriever = TOPMOST.parsers[name](inner, TOPMOST)
    for other, _ in entries:
        reason = f"[{name}] malformed retriever, expected [END_OBJECT] but found [FIELD_NAME]"
        raise parsing_error(node, node.keys[other], reason)
    return retriever
