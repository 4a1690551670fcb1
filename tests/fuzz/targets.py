"""The table of what is fuzzed, by name."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.fuzz import http_checks, json_checks, other_checks, relevance_checks

CORPUS: Final = Path(__file__).parent / "corpus"


@dataclass(frozen=True, slots=True)
class Target:
    """A reader of foreign bytes.

    Attributes:
        check: Raises if the reader is wrong about the bytes.
        words: What inputs are made of, besides bytes.
    """

    check: Callable[[bytes], None]
    words: tuple[bytes, ...] = ()


_HEAD: Final = tuple(
    b"GET |POST | HTTP/1.1|HTTP/1.0|\r\n|\r\n\r\n|Host:|Content-Length: |Transfer-Encoding: chunked|"
    b"Connection: |close|keep-alive|Upgrade: |Expect: 100-continue|Content-Type: |Content-Encoding: gzip|"
    b"TE:|Trailer:|*|%00|\t|,|;|http://".split(b"|")
)
_JSON: Final = (
    *b'{|}|[|]|"|:|,|\\u0074|\\ud83d|\\"|\\\\|true|false|null|-0|1e400|0.1|/*|*/|//|\xef\xbb\xbf|\r\n'.split(
        b"|"
    ),
    b'"hits":',
    b'"took":1',
    b'"pit_id":""',
    b'"_source":{}',
)
_NAME: Final = (
    b"text_similarity_reranker",
    b"\\u0074ext",
    b"\\x74",
    b"\\U00000074",
    b"\\\n  ",
    b"\x7f\x6a",
    b"\xff",
)
_SETTINGS: Final = tuple(
    b"listen|admin|upstream|models|endpoints|engine|edge|: |\n  |- |{|}|[|]|null|true|1MiB|http://h:1|&a|*a|<<|!!|"
    b"!!python/object|? |#|2001-12-14|__|=".split(b"|")
)
_ANSWER: Final = tuple(
    b'{"hits":{"hits":[|"_id":"1"|"_score":|"fields":{"plot":["t"]}|"endpoints":[|"service_settings":|"rerank":[|'
    b'"index":0|"relevance_score":|"count":1|"version":{"number":|\\ud800|1e999|NaN|null|]}|}'.split(b"|")
)
_JUDGED: Final = tuple(
    b'<top>|<num>|<title>|</top>|query-id\tcorpus-id\tscore|{"query":|"grades":|"position":|{{query}}|'
    b"{{ window }}|text_similarity_reranker|retriever|\t|\n|\r\n|\xef\xbb\xbf|\\ud800|1e400| 0 |*a|&a|"
    b"!!binary|-1|standard|match".split(b"|")
)
_PATHS: Final = tuple(
    b"GET |POST |_search|_msearch|_mapping|_cat/indices|%2F|%2e|%3F|%23|%0d%0a|..|;|\\|//|?".split(b"|")
)
_OUTCOMES: Final = tuple(
    b"applied|skipped|; |, |ms=|window=|reason=|=|nan|inf|1e999|omitted; items=2".split(b"|")
)
_CHUNKS: Final = (b"0\r\n\r\n", b"\r\n", b";a=b", b';a="b"', b"ffffffffffffffff", b"1\r\nx\r\n")

TARGETS: Final[Mapping[str, Target]] = {
    "request-head": Target(http_checks.check_request_head, _HEAD),
    "answer-head": Target(http_checks.check_answer_head, (*_HEAD, b"HTTP/1.1 200 OK\r\n")),
    "chunked": Target(http_checks.check_chunked, _CHUNKS),
    "codings": Target(http_checks.check_codings, (b"\x1f\x8b\x08", b"\xff\x06\x00\x00sNaPpY", b"\x78\x9c")),
    "json": Target(json_checks.check_source, _JSON),
    "detection": Target(json_checks.check_detection, (*_JSON[:12], *_NAME)),
    "splicer": Target(json_checks.check_splicer, _JSON),
    "negotiation": Target(
        other_checks.check_negotiation, (b"application/json", b"compatible-with=9", b"\n", b";")
    ),
    "target": Target(other_checks.check_target, (b"%2F", b"%%", b"?", b"#", b"&", b"source=", b"%ED%A0%80")),
    "formats": Target(
        other_checks.check_formats, (*_JSON[:12], b"- ", b"? ", b"\x9f", b"\xbf", b"\xff", b"\xc1")
    ),
    "settings": Target(other_checks.check_settings, _SETTINGS),
    "environment": Target(other_checks.check_environment, tuple(map(bytes.upper, _SETTINGS))),
    "model-files": Target(other_checks.check_model_files, (*_JSON, b'"shape":[1]', b'"data_offsets":[0,4]')),
    "playground": Target(relevance_checks.check_playground, _PATHS),
    "clicks": Target(
        relevance_checks.check_clicks,
        (*_JSON[:12], b'{"clicks":[', b'{"search":"s","documents":[', b'{"id":"1","index":"films"}'),
    ),
    "x-rerank": Target(relevance_checks.check_x_rerank, _OUTCOMES),
    "judged-files": Target(relevance_checks.check_judged_files, _JUDGED),
    "answers-to-commands": Target(relevance_checks.check_answers_to_commands, _ANSWER),
}


def corpus_of(name: str) -> list[Path]:
    """Return the files that a target begins with."""
    return sorted(path for path in (CORPUS / name).iterdir() if path.is_file())
