"""Requests that several tests send."""

GET = b"GET /i/_doc/1 HTTP/1.1\r\n\r\n"
SEARCH = b"POST /_search HTTP/1.1\r\ncontent-length: 2\r\n\r\n{}"
COUNT = SEARCH.replace(b"_search", b"_count")
BULK = SEARCH.replace(b"_search", b"_bulk")
