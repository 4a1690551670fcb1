import gzip
import json
import struct
import tracemalloc
import zlib
from collections.abc import Iterable, Sequence
from contextlib import suppress
from itertools import pairwise
from urllib.parse import quote

import cbor2
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from rerank_proxy.edge.detection import KNOWN_RETRIEVERS, WORD, Detection, Scanner, find_in_query
from rerank_proxy.http.inflate import STEP, CodingError, decompress, is_compressed

SEARCH = b'{"retriever":{"text_similarity_reranker":{"field":"plot"}}}'


def find_in_body(pieces: Iterable[bytes], coding: bytes = b"") -> Detection:
    scanner = Scanner()
    with suppress(CodingError):
        for piece in decompress(pieces, coding) if is_compressed(coding) else pieces:
            scanner.feed(piece)
    return scanner.result


def cut(data: bytes, cuts: Sequence[int]) -> list[bytes]:
    ends = sorted({0, len(data), *(min(cut, len(data)) for cut in cuts)})
    return [data[start:end] for start, end in pairwise(ends)]


def raw_deflate(data: bytes) -> bytes:
    compressor = zlib.compressobj(level=9, wbits=-15)
    return compressor.compress(data) + compressor.flush()


@pytest.mark.parametrize(
    ("coding", "encode"),
    [(b"", bytes), (b"gzip", gzip.compress), (b"x-gzip", gzip.compress), (b"deflate", zlib.compress),
     (b"deflate", raw_deflate), (b"br", bytes), (b"identity", bytes)],
)  # fmt: skip
def test_word_is_found_in_the_decoded_body(coding: bytes, encode: type[bytes]) -> None:
    assert find_in_body([encode(SEARCH)], coding) is Detection.FOUND
    assert find_in_body([encode(b'{"query":{}}')], coding) is Detection.ABSENT


@given(
    spelling=st.lists(st.sampled_from(["plain", "lower", "upper"]), min_size=len(WORD), max_size=len(WORD)),
    before=st.binary(max_size=200),
    cuts=st.lists(st.integers(0, 400), max_size=6),
    compressed=st.booleans(),
)
def test_word_is_found_in_any_spelling_and_however_it_is_cut(
    spelling: list[str], before: bytes, cuts: list[int], compressed: bool
) -> None:
    forms = {"plain": "%c", "lower": "\\u%04x", "upper": "\\u%04X"}
    # Not the `u`, which JSON wants in lower case.
    word = "".join(
        forms[form] % (chr(c) if form == "plain" else c) for form, c in zip(spelling, WORD, strict=True)
    )
    assert json.loads(f'"{word}"').encode() == WORD
    data = before + word.encode() + b'":1}'
    if compressed:
        data = gzip.compress(data)
    assert find_in_body(cut(data, cuts), b"gzip" if compressed else b"") is Detection.FOUND


UNICODE = ("utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le", "utf-32-be")


@given(
    encoding=st.sampled_from(UNICODE),
    before=st.text(max_size=200),
    escaped=st.booleans(),
    cuts=st.lists(st.integers(0, 900), max_size=6),
)
def test_word_is_found_in_every_encoding_of_unicode(
    encoding: str, before: str, escaped: bool, cuts: list[int]
) -> None:
    word = WORD.decode()
    if escaped:
        word = "".join(f"\\u{ord(character):04x}" for character in word)
    body = json.dumps({"query": before}, ensure_ascii=False) + '{"' + word + '":{}}'
    assert find_in_body(cut(body.encode(encoding), cuts)) is Detection.FOUND


@pytest.mark.parametrize("encoding", UNICODE)
def test_the_other_words_are_found_in_every_encoding_of_unicode(encoding: str) -> None:
    assert find_in_body(['{"retriever":{"rrf":{}}}'.encode(encoding)]) is Detection.POSSIBLE
    assert find_in_body(['{"query":{"match_all":{}}}'.encode(encoding)]) is Detection.ABSENT
    scanner = Scanner(is_template=True)
    scanner.feed('{"id":"stored"}'.encode(encoding))
    assert scanner.result is Detection.POSSIBLE


JOINS = [
    "\\\n",
    "\\\r\n  \t ",
    "\\\r",
    "\\\u0085 ",
    "\\\u2028",
    "\\\u2029" + " " * 300,
    "\\\n" + " " * 20_000,
]


@given(
    spelling=st.lists(
        st.sampled_from(["{}", "\\x{:02x}", "\\x{:02X}", "\\u{:04x}", "\\U{:08X}"]),
        min_size=len(WORD),
        max_size=len(WORD),
    ),
    joins=st.dictionaries(st.integers(1, len(WORD) - 1), st.sampled_from(JOINS), max_size=3),
    before=st.binary(max_size=200),
    cuts=st.lists(st.integers(0, 30_000), max_size=6),
)
def test_word_is_found_in_any_spelling_of_yaml(
    spelling: list[str], joins: dict[int, str], before: bytes, cuts: list[int]
) -> None:
    word = ""
    for at, (form, code) in enumerate(zip(spelling, WORD, strict=True)):
        word += joins.get(at, "") + form.format(chr(code) if form == "{}" else code)
    document = f'? "{word}"\n: {{}}\n'
    assert list(yaml.safe_load(document)) == [WORD.decode()]
    data = before + b"\n" + document.encode()
    assert find_in_body(cut(data, [len(before) + at for at in cuts])) is Detection.FOUND


def cbor_chunk(part: bytes, major: int, width: int) -> bytes:
    if width == 0:
        return bytes([major << 5 | len(part)]) + part
    return bytes([major << 5 | 23 + width.bit_length()]) + len(part).to_bytes(width, "big") + part


@given(
    parts=st.lists(st.tuples(st.integers(0, 23), st.sampled_from([0, 1, 2, 4, 8])), max_size=12),
    major=st.sampled_from([2, 3]),
    before=st.binary(max_size=200),
    empty=st.sampled_from([0, 1, 5000]),
    cuts=st.lists(st.integers(0, 400), max_size=6),
)
def test_word_is_found_in_any_chunks_of_cbor(
    parts: list[tuple[int, int]], major: int, before: bytes, empty: int, cuts: list[int]
) -> None:
    chunks, at = b"", 0
    for length, width in [*parts, (23, 0), (23, 0)]:
        part = WORD[at : at + length]
        chunks += cbor_chunk(part, major, width)
        at += len(part)
    name = bytes([major << 5 | 31]) + cbor_chunk(b"", major, 0) * empty + chunks + b"\xff"
    read = cbor2.loads(name)
    assert WORD in (read, getattr(read, "encode", bytes)())
    scanner = Scanner(is_cbor=True)
    for piece in cut(before + b"\xa1" + name + b"\xa0", cuts):
        scanner.feed(piece)
    assert scanner.result is Detection.FOUND


@pytest.mark.parametrize(
    "name",
    [
        b"\x7f\x6f" + WORD[:15] + b"\xff",
        b"\x7f\x6f" + WORD[:15] + b"\x49" + WORD[15:] + b"\xff",
        b"\x7f\x78\x19" + WORD + b"s\xff",
        b"\x7f\x64text\x64text\xff",
        b"_Attribute",
        b"\x7f",
    ],
)
def test_other_chunks_of_cbor(name: bytes) -> None:
    scanner = Scanner(is_cbor=True)
    scanner.feed(b"\xa1" + name.replace(WORD + b"s", WORD[:-1] + b"Rs") + b"\xa0")
    assert scanner.result is Detection.ABSENT


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"text_similarity_rerankeR",
        b"text_similarity_",
        rb'"\u0074ext_similarity_reranke"',
        rb'"\U0074ext_similarity_reranker"',
        rb'"\u00e9t\u00e9 text similarity reranker"',
    ],
)
def test_near_misses(body: bytes) -> None:
    assert find_in_body([body]) is Detection.ABSENT


def test_pieces_that_do_not_touch_are_not_joined() -> None:
    assert find_in_body([b"text_similarity_", b" " * 500, b"reranker"]) is Detection.ABSENT


FUSIONS = [b'{"retriever":{"rrf":{}}}', b'{"retriever":{"linear":{}}}', b'{"retriever" : {"pinned" : {}}}']


class TestPerhaps:
    """Retrievers that the application evaluates where upstream does not know them."""

    @pytest.mark.parametrize("body", FUSIONS)
    @pytest.mark.parametrize(("coding", "encode"), [(b"", bytes), (b"gzip", gzip.compress)])
    def test_other_retrievers(self, body: bytes, coding: bytes, encode: type[bytes]) -> None:
        assert find_in_body([encode(body)], coding) is Detection.POSSIBLE

    @pytest.mark.parametrize(
        "body",
        [
            b"retriever:\n  rrf:\n    retrievers: []\n",
            b"{retriever: {'linear': {}}}",
            b'{"retr\\x69ever": {"\\x72rf": {}}}',
            b"\xa1\x69retriever\xa1\x63rrf\xa0",
            b"\xa1\x69retriever\xbf\x66pinned\xbf",
        ],
    )
    def test_in_other_formats(self, body: bytes) -> None:
        assert find_in_body([body]) is Detection.POSSIBLE

    def test_inside_another_and_in_any_order(self) -> None:
        nested = b'{"retriever":{"rescorer":{"retriever":{"linear":{"retrievers":[]}}}}}'
        assert find_in_body([nested]) is Detection.POSSIBLE
        assert find_in_body([b'{"rrf":1,"retrievers":2}']) is Detection.POSSIBLE

    @pytest.mark.parametrize(
        "body",
        [
            b'{"retriever":{"standard":{}}}',
            b'{"query":{"match":{"text":"\\"rrf\\""}}}',
            b'{"retriever":{"rule":{"ids":["rrf_"]}}}',
            b'{"rrf":{},"linear":{},"pinned":{}}',
            b'{"query":"retriever linearly"}',
            b"retriever: {pinned_: 1}",
        ],
    )
    def test_no_such_retriever(self, body: bytes) -> None:
        assert find_in_body([body]) is Detection.ABSENT

    @pytest.mark.parametrize(
        "body",
        [
            b'{"retriever":{"text_similarity_rerank":{"field":"plot"}}}',
            b'{"size":1, "retriever" : {\n  "rrrf" : {}}}',
            b'{}\n{"retriever":{"text-similarity-reranker":{}}}\n',
            b'{"retriever":{"rescorer":{"retriever":{"some":{}}}}}',
        ],
    )
    def test_names_that_are_none(self, body: bytes) -> None:
        assert find_in_body([body]) is Detection.POSSIBLE
        assert find_in_body([bytes([each]) for each in body]) is Detection.POSSIBLE
        far = b" " * 20_000 + body
        assert find_in_body([far[:20_020], far[20_020:]]) is Detection.POSSIBLE

    @pytest.mark.parametrize("name", KNOWN_RETRIEVERS[:-1])
    def test_all_other_retrievers_are_upstreams(self, name: str) -> None:
        expected = Detection.POSSIBLE if name in ("rrf", "linear", "pinned") else Detection.ABSENT
        assert find_in_body([b'{"retriever":{"%b":{}}}' % name.encode()]) is expected

    @pytest.mark.parametrize("body", FUSIONS)
    def test_the_reranker_weighs_more(self, body: bytes) -> None:
        for both in ([body, SEARCH], [SEARCH, body]):
            assert find_in_body(both) is Detection.FOUND

    @given(body=st.sampled_from(FUSIONS), cuts=st.lists(st.integers(0, 40), max_size=40))
    def test_however_it_is_cut(self, body: bytes, cuts: list[int]) -> None:
        assert find_in_body(cut(body, cuts)) is Detection.POSSIBLE

    def test_words_far_apart(self) -> None:
        pieces = [b'{"retriever":', b" " * 500, b'{"rrf":{}}}']
        assert find_in_body(pieces) is Detection.POSSIBLE


def test_the_format_is_told_by_two_bytes_though_they_come_apart() -> None:
    """A stored block of raw deflate may begin with the byte that zlib's header begins with."""
    stored = b"\x78" + struct.pack("<HH", len(SEARCH), len(SEARCH) ^ 0xFFFF) + SEARCH + b"\x03\x00"
    assert zlib.decompress(stored, wbits=-15) == SEARCH
    for pieces in ([stored], [stored[:1], stored[1:]], [b"", stored[:1], b"", stored[1:2], stored[2:]]):
        assert find_in_body(pieces, b"deflate") is Detection.FOUND


@pytest.mark.parametrize("coding", [b"gzip", b"deflate"])
def test_corrupt_data_counts_as_what_could_be_read(coding: bytes) -> None:
    assert find_in_body([b"not compressed " + WORD], coding) is Detection.ABSENT
    encode = gzip.compress if coding == b"gzip" else zlib.compress
    cut = encode(SEARCH + bytes(range(256)) * 64)[:-40]
    assert find_in_body([cut], coding) is Detection.FOUND
    assert find_in_body([encode(b"x" * 1000)[:-4] + b"1234"], coding) is Detection.ABSENT


def test_the_whole_of_a_long_body_is_looked_at_without_holding_it() -> None:
    body = gzip.compress(b"\0" * 20_000_000 + WORD)
    tracemalloc.start()
    try:
        assert find_in_body([body], b"gzip") is Detection.FOUND
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("excess", range(1, 5))
def test_nothing_is_left_inside_the_decoder(excess: int) -> None:
    """A step may end within the word when all input is taken: the codes of `ker` are a few bits each here."""
    text = (b"ker " * STEP)[: STEP + excess - len(WORD)] + WORD
    assert find_in_body([raw_deflate(text)], b"deflate") is Detection.FOUND


@pytest.mark.parametrize(
    "query",
    [
        b"source=" + SEARCH,
        b"source=" + quote(SEARCH).encode() + b"&source_content_type=application/json",
        b"source=" + b"".join(b"%%%02x" % c for c in WORD),
        b"source=%5Cu0074ext_similarity_reranker",
        b"source=" + quote(SEARCH.decode().encode("utf-16-le")).encode(),
        b"source_content_type=application/yaml&source=%5Cx74ext%5C%0A%20%20_similarity_reranker",
        b"%zz&x=" + WORD,
    ],
)
def test_word_in_the_query(query: bytes) -> None:
    assert find_in_query(query)


@pytest.mark.parametrize("query", [b"", b"q=a%3Ab", b"source=%7B%7D", b"%"])
def test_query_without_the_word(query: bytes) -> None:
    assert not find_in_query(query)
