"""Which headers clients send that decide about formats and codings: as they were seen on the wire or, where
it says so, as the client's source has them.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

Headers = Mapping[str, str]


def _vendor(version: int, *, lines: bool = False, space: str = " ") -> str:
    return f"application/vnd.elasticsearch+{'x-nd' if lines else ''}json;{space}compatible-with={version}"


@dataclass(frozen=True)
class Client:
    """
    Attributes:
        with_body: Beside a JSON body.
        with_lines: Beside the lines of `_msearch`.
        without_body: Of all other requests.
        is_compressed: Its bodies are in gzip.
        is_chunked: Its bodies are.
    """

    with_body: Headers
    with_lines: Headers
    without_body: Headers
    is_compressed: bool = False
    is_chunked: bool = False


def _both(accept: str, content_type: str | None = None) -> Headers:
    return {"Accept": accept, "Content-Type": content_type or accept}


def _of_version(version: int, without_body: Headers | None = None, space: str = " ") -> Client:
    """Return the headers of a client that names the version in both."""
    json, lines = (_vendor(version, lines=each, space=space) for each in (False, True))
    return Client(_both(json), _both(json, lines), {"Accept": json} if without_body is None else without_body)


def _compressing(client: Client, accept_encoding: str = "gzip") -> Client:
    coded = {"Accept-Encoding": accept_encoding}
    beside_a_body = {**coded, "Content-Encoding": "gzip"}
    return Client(
        {**client.with_body, **beside_a_body},
        {**client.with_lines, **beside_a_body},
        {**client.without_body, **coded},
        is_compressed=True,
    )


def _accepting(client: Client, accept_encoding: str, *, is_chunked: bool = False) -> Client:
    coded = {"Accept-Encoding": accept_encoding}
    return Client(
        {**client.with_body, **coded},
        {**client.with_lines, **coded},
        {**client.without_body, **coded},
        is_chunked=is_chunked,
    )


_JSON: Final = "application/json"
_JSON_OF_JAVA: Final = "application/json; charset=UTF-8"
_GO: Final = Client({"Content-Type": _JSON}, {"Content-Type": _JSON}, {})
_GO_TYPED: Final = _of_version(9, space="")
_JAVA: Final = Client(_both(_vendor(9)), _both(_vendor(9)), _both(_vendor(9)))
_JAVA_LOW_LEVEL: Final = Client({"Content-Type": _JSON_OF_JAVA}, {"Content-Type": _JSON_OF_JAVA}, {})
_RUST: Final = Client(_both(_JSON), _both(_JSON), _both(_JSON))
_CURL: Final = _both("*/*", _JSON)
_BROWSER: Final = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"

CLIENTS: Final[Mapping[str, Client]] = {
    # elasticsearch-js 9.4.3 and 9.5.1, all methods, `transport.request` included
    "JavaScript 9": _of_version(9, _both(f"{_vendor(9)},text/plain", _vendor(9))),
    # elasticsearch-py 8.19.3 and 9.5.1
    "Python 8": _accepting(_of_version(8), "identity"),
    "Python 9": _accepting(_of_version(9), "identity"),
    "Python 9, starting a deployment": _accepting(_of_version(9, _both(_vendor(9))), "identity"),
    "Python 9, without headers": _accepting(_of_version(9, {}), "identity"),
    "Python 9, http_compress": _compressing(_of_version(9)),
    # go-elasticsearch 9.5.2, its two APIs
    "Go 9": _accepting(_GO, "gzip"),
    "Go 9, CompressRequestBody": _compressing(_GO),
    "Go 9, typed": _accepting(_GO_TYPED, "gzip"),
    # elasticsearch-java 9.3.0, its rest5 client by itself, and elasticsearch-rest-client 9.2.0
    "Java 9": _accepting(_JAVA, "gzip, x-gzip, deflate", is_chunked=True),
    "Java 9, low-level": _accepting(_JAVA_LOW_LEVEL, "gzip, x-gzip, deflate"),
    "Java 9, low-level of 8": _JAVA_LOW_LEVEL,
    "Java 9, low-level of 8, compressed": _compressing(_JAVA_LOW_LEVEL),
    # Sources of elasticsearch-rs 9.1.0-alpha.1
    "Rust 9": _RUST,
    "Rust 9, request_body_compression": _compressing(_RUST),
    # Sources of elastic-transport-net and of Elastic.Clients.Elasticsearch 9
    ".NET 9": _GO_TYPED,
    ".NET 9, compressed": _compressing(_GO_TYPED, "gzip, deflate"),
    # Sources of elasticsearch-ruby 9.5.0
    "Ruby 9": Client(_both(_vendor(9)), _both(_vendor(9, lines=True)), _both(_vendor(9))),
    "Ruby 9, compressed": _compressing(
        Client(_both(_vendor(9)), _both(_vendor(9, lines=True)), _both(_vendor(9)))
    ),
    # Sources of elasticsearch-php 9.3.0
    "PHP 9": _of_version(9),
    # What others send, or may
    "curl": Client(_CURL, _CURL, {"Accept": "*/*"}),
    "a browser": Client(_both(_BROWSER, _JSON), _both(_BROWSER, _JSON), {"Accept": _BROWSER}),
    "any type wanted beside a vendor's": _of_version(9, _both("*/*", _vendor(9))),
    "JSON wanted beside a vendor's type": Client(
        _both(_JSON, _vendor(9)), _both(_JSON, _vendor(9, lines=True)), _both(_JSON, _vendor(9))
    ),
    "another version wanted": Client(
        _both(_vendor(8), _vendor(9)), _both(_vendor(8), _vendor(9)), _both(_vendor(8), _vendor(9))
    ),
    "a version that is too old": _of_version(6),
    "a form": Client(
        _both("*/*", "application/x-www-form-urlencoded"),
        _both("*/*", "application/x-www-form-urlencoded"),
        _both("*/*", "application/x-www-form-urlencoded"),
    ),
    "YAML wanted": Client(
        _both("application/yaml", _JSON), _both("application/yaml", _JSON), {"Accept": "application/yaml"}
    ),
    "nothing": Client({}, {}, {}),
    "what is no media type": Client(_both("json"), _both("json"), _both("json")),
}
