"""Bodies in Elasticsearch's other formats, to and from the JSON that the proxy works on."""

from rerank_proxy.app.formats import cbor_body, yaml_body
from rerank_proxy.errors import ElasticsearchError, unsupported
from rerank_proxy.http.media_types import Format, MediaTypeError, header
from rerank_proxy.xcontent.encodings import to_utf8

_READERS = {Format.YAML: yaml_body.read, Format.CBOR: cbor_body.read}
_WRITERS = {Format.YAML: yaml_body.write, Format.CBOR: cbor_body.write}


def to_json(body: bytes, content_type: str | None, *, in_lines: bool = False) -> bytes:
    """The request body as JSON in UTF-8. One of a type that is not Elasticsearch's is left as it is.

    Args:
        in_lines: It is a JSON text in each line, whose encoding is that line's.

    Raises:
        ElasticsearchError: 400 for a malformed body, and for Smile.
    """
    try:
        media_type = header([content_type]) if content_type is not None else None
    except MediaTypeError:
        return body
    format_ = media_type.format if media_type is not None else None
    if format_ is Format.SMILE:
        raise _no_smile("body")
    if not body or format_ is None:
        return body
    if format_ is Format.JSON:
        return body if in_lines else to_utf8(body)
    return _READERS[format_](body)


def from_json(body: bytes, format_: Format) -> bytes:
    """An answer in another format.

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
    """Fail before the search is made rather than after it.

    Raises:
        ElasticsearchError: 400; its own body is to be JSON.
    """
    if format_ is Format.SMILE:
        raise _no_smile("answer")


def _no_smile(what: str) -> ElasticsearchError:
    return unsupported(f"[application/smile] as the format of a reranked search's {what}")
