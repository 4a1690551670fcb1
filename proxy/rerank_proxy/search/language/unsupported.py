"""What native Elasticsearch does and this proxy does not."""

from rerank_proxy.errors import ElasticsearchError, error


def unsupported(what: str) -> ElasticsearchError:
    """A clear refusal, which names `what`."""
    return error(400, "unsupported_operation_exception", f"{what} is not supported by rerank-proxy yet")
