"""Bodies of requests to a port that browsers reach, too."""

from aiohttp import web

from rerank_proxy.errors import error


async def json_body(request: web.Request, most: int) -> bytes:
    """Return a body of JSON, whose length has to be told before it is read.

    So there is no malformed one, of which the library would log a traceback. A form on another site's page
    cannot send this type of content, and its script would have to ask first.

    Args:
        most: The most bytes that it may have.

    Raises:
        ElasticsearchError: 415, it is something else than plain JSON; 411, it has no length; 413, it is
            larger.
    """
    if request.content_type != "application/json" or "Content-Encoding" in request.headers:
        raise error(415, "illegal_argument_exception", "the body has to be plain [application/json]")
    if request.content_length is None:
        raise error(411, "illegal_argument_exception", "the body has to have a [Content-Length]")
    if request.content_length > most:
        raise error(413, "illegal_argument_exception", f"the body is larger than [{most}] bytes")
    return await request.read()
