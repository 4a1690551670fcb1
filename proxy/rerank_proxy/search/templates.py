"""Search templates, once upstream has rendered them (``TransportSearchTemplateAction#convert``)."""

from typing import Final

from rerank_proxy.errors import ElasticsearchError
from rerank_proxy.search.language.detection import may_hold_retriever
from rerank_proxy.upstream.protocol import Reply
from rerank_proxy.xcontent.params import Params
from rerank_proxy.xcontent.source import Node, parse
from rerank_proxy.xcontent.splicing import Printer

_FLAGS: Final = ("explain", "profile")
_OF_THE_BODY: Final = frozenset(
    {
        "_source", "_source_excludes", "_source_exclude_vectors", "_source_includes",
        "analyze_wildcard", "analyzer", "default_operator", "df", "docvalue_fields", "explain", "from",
        "include_named_queries_score", "lenient", "q", "seq_no_primary_term", "size", "sort", "stats",
        "stored_fields", "suggest_field", "suggest_mode", "suggest_size", "suggest_text", "terminate_after",
        "timeout", "track_scores", "version",
    }
)  # fmt: skip
"""Parameters that a `_search` takes into its body. Here that has no effect: the rendered body replaces it."""
_BEFORE: Final = b'{"template_output":'
_AFTER: Final = b"}"
_compact: Final = Printer(pretty=False)


def may_rerank(template: bytes) -> bool:
    """Return whether a template is worth rendering: it is a stored one, or may hold a retriever."""
    return b'"id"' in template or may_hold_retriever(template)


def rendered_body(answer: Reply) -> bytes | None:
    """Return the search body in an answer of `_render/template`; None if rendering was refused.

    The body may be any text: Elasticsearch copies it into its answer as it is, valid or not.
    """
    body = answer.body.rstrip()
    if answer.status != 200 or not (body.startswith(_BEFORE) and body.endswith(_AFTER)):
        return None
    return body[len(_BEFORE) : -len(_AFTER)]


def with_flags(body: bytes, template: bytes, params: Params) -> bytes:
    """Return the rendered body with the `explain` and `profile` of the request, which replace its own.

    Args:
        template: The body of the template request.
        params: Of the URL, whose `explain` is the stronger one.
    """
    try:
        own, request = parse(body).members, parse(template).members
    except ElasticsearchError:
        return body
    flags = {name: _is_true(request.get(name)) for name in _FLAGS}
    if "explain" in params:
        flags["explain"] = params.flag("explain")
    if not any(flags.values()) and not any(name in own for name in _FLAGS):
        return body
    kept = {name: value.raw for name, value in own.items() if name not in _FLAGS}
    return _compact.object({**kept, **{name: b"true" for name, on in flags.items() if on}}, 0)


def search_params(params: Params, body: bytes) -> Params:
    """Return the parameters of the URL that have an effect on the search whose rendered body is `body`."""
    dropped = set(_OF_THE_BODY)
    if b'"track_total_hits"' in body:
        dropped.add("track_total_hits")
    return Params(tuple(pair for pair in params.pairs if pair[0] not in dropped))


def _is_true(flag: Node | None) -> bool:
    return flag is not None and flag.raw in (b"true", b'"true"')
