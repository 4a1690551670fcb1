"""Bodies in Elasticsearch's other formats, to and from the JSON that the proxy works on."""

from rerank_proxy.app.formats import cbor_body, yaml_body
from rerank_proxy.errors import ElasticsearchError, unsupported
from rerank_proxy.http.media_types import Format
from rerank_proxy.xcontent.encodings import to_utf8

_READERS = {Format.YAML: yaml_body.read, Format.CBOR: cbor_body.read}
_WRITERS = {Format.YAML: yaml_body.write, Format.CBOR: cbor_body.write}


def to_json(body: bytes, format_: Format | None, *, in_lines: bool = False) -> bytes:
    """Return a request body as JSON in UTF-8.

    Args:
        format_: Of the body; None leaves it as it is.
        in_lines: The body has a JSON text in each line, whose encoding is that line's.

    Raises:
        ElasticsearchError: 400 for a malformed body, and for Smile.
    """
    if format_ is Format.SMILE:
        raise _no_smile("body")
    if not body or format_ is None:
        return body
    if format_ is Format.JSON:
        return body if in_lines else to_utf8(body)
    return _READERS[format_](body)


def from_json(body: bytes, format_: Format) -> bytes:
    """Return an answer in another format.

    Args:
        body: JSON as Elasticsearch prints it, compact or pretty.

    Raises:
        ElasticsearchError: 400 for Smile, and for what is nested too deep for the format's writer.
    """
    if format_ is Format.JSON:
        return body
    refuse_smile(format_)
    try:
        return _WRITERS[format_](body)
    except RecursionError:
        raise unsupported(f"an answer in [{format_.value}] that is nested this deep") from None


def refuse_smile(format_: Format) -> None:
    """Refuse an answer in Smile, before the search is made rather than after it.

    Raises:
        ElasticsearchError: 400, whose own body is to be JSON.
    """
    if format_ is Format.SMILE:
        raise _no_smile("answer")


def _no_smile(what: str) -> ElasticsearchError:
    return unsupported(f"[application/smile] as the format of a reranked search's {what}")
