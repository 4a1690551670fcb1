import re
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rerank_proxy.http.grammar import cannot_begin_a_head
from rerank_proxy.http.head import HeadError, RequestHead, ResponseHead, parse_request, parse_response


def request(*lines: bytes) -> RequestHead:
    raw = b"\r\n".join(lines) + b"\r\n\r\n"
    return parse_request(raw)


def response(*lines: bytes) -> ResponseHead:
    raw = b"\r\n".join(lines) + b"\r\n\r\n"
    return parse_response(raw)


class TestRequest:
    def test_reads_what_frames_the_message_and_keeps_the_bytes(self) -> None:
        raw = b"POST /i/_doc?x=%zz HTTP/1.1\r\nHOST: a\r\ncontent-LENGTH:  12 \r\nX-A: \xe9\r\nx-a:\r\n\r\n"
        head = parse_request(raw)
        assert (head.method, head.target, head.length) == (b"POST", b"/i/_doc?x=%zz", 12)
        assert head.keep_alive
        assert not head.chunked
        assert head.forward() == raw

    @pytest.mark.parametrize(
        "target",
        [
            b"/a/../b/./c",
            b"//i//_search",
            b"/x?q=1#frag",
            b"*",
            b"http://h/p",
            b"/%3Cl-%7Bnow%7D%3E",
            b"/\xc3\xa9",
        ],
    )
    def test_any_target_is_kept(self, target: bytes) -> None:
        head = request(b"GET " + target + b" HTTP/1.1")
        assert head.target == target
        assert head.forward().startswith(b"GET " + target + b" HTTP/1.1\r\n")

    @pytest.mark.parametrize(
        ("line", "keep_alive"),
        [
            (b"Connection: close", False),
            (b"connection: Keep-Alive, CLOSE", False),
            (b"Connection: foo", True),
        ],
    )
    def test_keep_alive(self, line: bytes, keep_alive: bool) -> None:
        assert request(b"GET / HTTP/1.1", line).keep_alive is keep_alive

    def test_http10_never_keeps_alive(self) -> None:
        assert not request(b"GET / HTTP/1.0", b"Connection: keep-alive").keep_alive

    def test_hop_by_hop_lines_and_those_that_connection_lists_are_left_out(self) -> None:
        head = request(
            b"GET / HTTP/1.1",
            b"A: 1",
            b"Connection: X-Gone, keep-alive",
            b"x-gone: 2",
            b"B: 3",
            b"KEEP-ALIVE: timeout=5",
            b"Proxy-Connection: x",
            b"te: trailers",
            b"C: 4",
            b"Upgrade: h2c",
            b"HTTP2-Settings: AAMA",
            b"Proxy-Authorization: Basic x",
            b"X-Gone: 5",
            b"Trailer: X-T",
            b"D:6",
        )
        assert head.forward() == b"GET / HTTP/1.1\r\nA: 1\r\nB: 3\r\nC: 4\r\nTrailer: X-T\r\nD:6\r\n\r\n"

    def test_names_that_merely_begin_or_end_like_a_hop_by_hop_one_stay(self) -> None:
        lines = (b"GET / HTTP/1.1", b"te2: 1", b"x-te: 2", b"connections: 3", b"x: y\tconnection: z")
        assert request(*lines).forward() == b"\r\n".join(lines) + b"\r\n\r\n"

    def test_transfer_encoding_stays_for_chunks_are_relayed_as_they_are(self) -> None:
        head = request(b"POST / HTTP/1.1", b"Transfer-Encoding: Chunked")
        assert head.chunked
        assert b"Transfer-Encoding: Chunked\r\n" in head.forward()

    def test_host_of_upstream_takes_the_place_of_the_clients(self) -> None:
        head = request(b"GET / HTTP/1.1", b"A: 1", b"hOST:old:9200", b"X-Host: h")
        assert (
            head.forward(b"es.example") == b"GET / HTTP/1.1\r\nA: 1\r\nhOST: es.example\r\nX-Host: h\r\n\r\n"
        )

    def test_host_of_upstream_is_added_where_none_was(self) -> None:
        assert (
            request(b"GET / HTTP/1.1", b"A: 1").forward(b"h") == b"GET / HTTP/1.1\r\nHost: h\r\nA: 1\r\n\r\n"
        )

    def test_expect_is_left_out_on_demand(self) -> None:
        head = request(b"PUT / HTTP/1.1", b"expect: 100-Continue", b"A: 1")
        assert head.fields.expects_continue
        assert head.forward() == head.raw
        assert head.forward(expect=False) == b"PUT / HTTP/1.1\r\nA: 1\r\n\r\n"

    def test_another_expectation_does_not_wait_for_continue(self) -> None:
        head = request(b"PUT / HTTP/1.1", b"Expect: tea")
        assert (head.fields.expects_continue, head.fields.expects_other) == (False, True)
        assert b"Expect: tea" in head.forward(expect=False)

    def test_expect_means_nothing_in_http10(self) -> None:
        assert not request(b"PUT / HTTP/1.0", b"Expect: 100-continue").fields.expects_continue

    def test_the_first_coding_counts(self) -> None:
        assert request(b"PUT / HTTP/1.1", b"Content-Encoding: GZIP").fields.coding == b"gzip"
        twice = request(b"PUT / HTTP/1.1", b"Content-Encoding: gzip", b"content-encoding: br")
        assert twice.fields.coding == b"gzip"
        assert not request(b"PUT / HTTP/1.1", b"Content-Encoding:", b"content-encoding: gzip").fields.coding

    def test_field_finds_the_first_of_any_case(self) -> None:
        head = request(b"GET / HTTP/1.1", b"X-opaque-ID:  A b ", b"x-opaque-id: c")
        assert head.field(b"x-opaque-id") == b"A b"
        assert head.field(b"x-other") is None

    @pytest.mark.parametrize(
        ("raw", "reason"),
        [
            (b"GET /\r\n\r\n", "first line"),
            (b"GET  / HTTP/1.1\r\n\r\n", "first line"),
            (b"GET /a b HTTP/1.1\r\n\r\n", "first line"),
            (b"GET / HTTP/2.0\r\n\r\n", "first line"),
            (b"GET / http/1.1\r\n\r\n", "first line"),
            (b"G@T / HTTP/1.1\r\n\r\n", "first line"),
            (b"GET /\x00 HTTP/1.1\r\n\r\n", "first line"),
            (b" GET / HTTP/1.1\r\n\r\n", "first line"),
            (b"GET / HTTP/1.1\r\nA: 1\r\n b\r\n\r\n", "line 3 of the head continues"),
            (b"GET / HTTP/1.1\r\n\tA: 1\r\n\r\n", "line 2 of the head continues"),
            (b"GET / HTTP/1.1\r\nA : 1\r\n\r\n", "white space before its colon"),
            (b"GET / HTTP/1.1\r\nContent-Length\t: 1\r\n\r\n", "white space before its colon"),
            (b"GET / HTTP/1.1\r\nA\r\n\r\n", "not a header field"),
            (b"GET / HTTP/1.1\r\n: 1\r\n\r\n", "not a header field"),
            (b"GET / HTTP/1.1\r\nA: b\nC: d\r\n\r\n", "control character"),
            (b"GET / HTTP/1.1\r\nA: b\rC: d\r\n\r\n", "control character"),
            (b"GET / HTTP/1.1\r\nA: \x00\r\n\r\n", "control character"),
            (b"GET / HTTP/1.1\nA: b\r\n\r\n", "first line"),
        ],
    )
    def test_what_breaks_the_grammar_is_refused_with_its_reason(self, raw: bytes, reason: str) -> None:
        with pytest.raises(HeadError, match=reason) as caught:
            parse_request(raw)
        assert caught.value.status == 400

    @pytest.mark.parametrize(
        "lines",
        [
            (b"Content-Length: 1", b"Content-Length: 1"),
            (b"Content-Length: 1", b"content-length: 2"),
            (b"Content-Length: 1, 1",),
            (b"Content-Length: +1",),
            (b"Content-Length: -1",),
            (b"Content-Length: 0x1",),
            (b"Content-Length: 1 2",),
            (b"Content-Length:",),
            (b"Content-Length: 9999999999999999999",),
            (b"Content-Length: 1", b"Transfer-Encoding: chunked"),
            (b"Host: a", b"host: b"),
            (b"Connection: content-length", b"Content-Length: 1"),
            (b"Connection: close, Transfer-Encoding",),
            (b"Connection: host",),
            (b"Transfer-Encoding: chunked\t",),
            (b"transfer-encoding:\tchunked",),
        ],
    )
    def test_ambiguous_framing_is_refused(self, lines: tuple[bytes, ...]) -> None:
        with pytest.raises(HeadError) as caught:
            request(b"POST / HTTP/1.1", *lines)
        assert caught.value.status == 400

    @pytest.mark.parametrize(
        "lines",
        [
            (b"Transfer-Encoding: gzip, chunked",),
            (b"Transfer-Encoding: identity",),
            (b"Transfer-Encoding: chunked", b"Transfer-Encoding: chunked"),
            (b"Transfer-Encoding: chunked;a=b",),
            (b"Transfer-Encoding:",),
        ],
    )
    def test_other_transfer_codings_are_not_supported(self, lines: tuple[bytes, ...]) -> None:
        with pytest.raises(HeadError) as caught:
            request(b"POST / HTTP/1.1", *lines)
        assert caught.value.status == 501

    def test_chunks_in_http10_are_refused(self) -> None:
        with pytest.raises(HeadError):
            request(b"POST / HTTP/1.0", b"Transfer-Encoding: chunked")

    def test_a_reason_never_repeats_what_was_sent(self) -> None:
        with pytest.raises(HeadError) as caught:
            request(b"GET / HTTP/1.1", b"Authorization : Bearer secret")
        assert "secret" not in caught.value.reason
        assert "Bearer" not in caught.value.reason


class TestResponse:
    @pytest.mark.parametrize(
        "line", [b"HTTP/1.1 200 OK", b"HTTP/1.1 200 ", b"HTTP/1.1 200", b"HTTP/1.0 200 \xe9"]
    )
    def test_status_line(self, line: bytes) -> None:
        head = response(line, b"content-length: 5")
        assert (head.status, head.length) == (200, 5)
        assert head.forward(close=False) == head.raw

    @pytest.mark.parametrize(
        "line", [b"HTTP/1.1 20 OK", b"HTTP/1.1 099 x", b"HTTP/2 200", b"200 OK", b"HTTP/1.1  200"]
    )
    def test_malformed_status_line(self, line: bytes) -> None:
        with pytest.raises(HeadError, match="first line"):
            response(line)

    @pytest.mark.parametrize(
        "lines",
        [
            (b"content-length: 1", b"content-length: 1"),
            (b"content-length: 1", b"transfer-encoding: chunked"),
            (b"transfer-encoding: gzip",),
            (b"content-length: one",),
            (b"connection: transfer-encoding",),
        ],
    )
    def test_ambiguous_framing_is_refused(self, lines: tuple[bytes, ...]) -> None:
        with pytest.raises(HeadError):
            response(b"HTTP/1.1 200 OK", *lines)

    def test_hop_by_hop_lines_are_left_out(self) -> None:
        head = response(
            b"HTTP/1.1 401 x",
            b"A: 1",
            b"Connection: close",
            b"Keep-Alive: timeout=5",
            b"Warning: 1",
            b"Proxy-Authenticate: Basic",
            b"warning: 2",
            b"WWW-Authenticate: Basic",
        )
        assert not head.keep_alive
        assert (
            head.forward(close=False)
            == b"HTTP/1.1 401 x\r\nA: 1\r\nWarning: 1\r\nwarning: 2\r\nWWW-Authenticate: Basic\r\n\r\n"
        )

    def test_close_is_said_once_and_in_upstreams_words_where_it_said_so(self) -> None:
        said = response(b"HTTP/1.1 413 x", b"Connection: Close", b"content-length: 0")
        assert said.forward(close=True) == said.raw
        unsaid = response(b"HTTP/1.1 200 OK", b"content-length: 0")
        assert (
            unsaid.forward(close=True) == b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
        )
        more = response(b"HTTP/1.1 200 OK", b"Connection: close, x", b"X: 1")
        assert more.forward(close=True) == b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n"

    def test_dechunked_head_no_longer_says_chunked(self) -> None:
        head = response(b"HTTP/1.1 200 OK", b"Transfer-Encoding: chunked", b"A: 1")
        assert (
            head.forward(close=True, dechunk=True) == b"HTTP/1.1 200 OK\r\nA: 1\r\nconnection: close\r\n\r\n"
        )


@given(st.binary())
def test_arbitrary_bytes_raise_nothing_else(data: bytes) -> None:
    for parse in (parse_request, parse_response):
        with suppress(HeadError):
            parse(data)


TOKENS = st.text("abcXYZ-_!09", min_size=1, max_size=12).map(str.encode)
VALUES = st.binary(max_size=20).map(lambda data: re.sub(rb"[^\t\x20-\x7e\x80-\xff]", b"", data))


@given(TOKENS, st.lists(st.tuples(TOKENS, VALUES), max_size=12), st.data())
def test_forwarding_never_changes_order_or_spelling(
    method: bytes, fields: list[tuple[bytes, bytes]], data: st.DataObject
) -> None:
    """What is forwarded is a subsequence of the lines, and only hop-by-hop lines are missing."""
    hop = data.draw(
        st.lists(st.sampled_from([b"Connection: keep-alive", b"TE: x", b"upgrade:h2c"]), max_size=3)
    )
    lines = [name + b":" + value for name, value in fields]
    mixed = data.draw(st.permutations([*lines, *hop]))
    kept = [line for line in mixed if line not in hop]
    assert request(method + b" / HTTP/1.1", *mixed).forward() == b"\r\n".join(
        [method + b" / HTTP/1.1", *kept, b"", b""]
    )


@pytest.mark.parametrize(
    ("data", "hopeless"),
    [
        (b"", False),
        (b"GET / HT", False),
        (b"a\r\nb\r", False),
        (b"A:\t\xe9", False),
        (b"a\nb", True),
        (b"a\rb", True),
        (b"\n", True),
        (b"a\r\r\n", True),
        (b"\x16\x03\x01", True),
        (b"A: \x00", True),
    ],
)
def test_what_can_never_become_a_head(data: bytes, hopeless: bool) -> None:
    assert cannot_begin_a_head(data) is hopeless


def test_a_line_end_that_was_cut_in_half_is_one() -> None:
    assert not cannot_begin_a_head(b"GET / HTTP/1.1\r\n", 15)


class TestHeadsThatDifferInLittle:
    """What was read is remembered without the length: no head may be taken for another."""

    LENGTHS = (b"0", b"5", b" 17\t", b"123456789")

    def test_requests_keep_their_length(self) -> None:
        for length in self.LENGTHS:
            fields = [b"Host: a", b"content-Length:" + length, b"Connection: keep-alive", b"x: y"]
            head = request(b"POST / HTTP/1.1", *fields)
            assert head.length == int(length)
            assert head.forward(b"b") == (
                b"POST / HTTP/1.1\r\nHost: b\r\ncontent-Length:%b\r\nx: y\r\n\r\n" % length
            )
            assert head.forward() == head.forward(b"a")

    def test_answers_keep_their_length(self) -> None:
        for length in self.LENGTHS:
            for line, status in ((b"HTTP/1.1 200 OK", 200), (b"HTTP/1.1 404 Not Found", 404)):
                head = response(line, b"content-length:" + length, b"Connection: keep-alive", b"x: y")
                assert (head.status, head.length) == (status, int(length))
                kept = b"%b\r\ncontent-length:%b\r\nx: y\r\n\r\n" % (line, length)
                assert head.forward(close=False) == kept

    def test_expectations_are_kept_for_one_target_and_not_for_another(self) -> None:
        lines = (b"POST / HTTP/1.1", b"Expect: 100-continue", b"Content-Length: 5")
        for _ in range(2):
            head = request(*lines)
            assert head.forward() == b"\r\n".join((*lines, b"", b""))
            assert head.forward(expect=False) == b"\r\n".join((lines[0], lines[2], b"", b""))

    def test_the_version_counts(self) -> None:
        fields = (b"Expect: 100-continue", b"Content-Length: 5")
        for version, is_new in ((b"1", True), (b"0", False)) * 2:
            head = request(b"POST / HTTP/1." + version, *fields)
            assert (head.http10, head.keep_alive, head.fields.expects_continue) == (
                not is_new,
                is_new,
                is_new,
            )

    @pytest.mark.parametrize(
        "lines",
        [
            [b"Content-Length:"],
            [b"Content-Length: "],
            [b"Content-Length: 5", b"Content-Length:"],
            [b"Content-Length:", b"Content-Length: 5"],
            [b"Content-Length: 5", b"Content-Length: 5"],
            [b"Content-Length: 5", b"Transfer-Encoding: chunked"],
            [b"Transfer-Encoding: chunked", b"Content-Length: 5"],
        ],
    )
    def test_a_good_length_does_not_vouch_for_bad_ones(self, lines: list[bytes]) -> None:
        request(b"POST / HTTP/1.1", b"Content-Length: 5")
        response(b"HTTP/1.1 200 OK", b"Content-Length: 5")
        for _ in range(2):
            with pytest.raises(HeadError):
                request(b"POST / HTTP/1.1", *lines)
            with pytest.raises(HeadError):
                response(b"HTTP/1.1 200 OK", *lines)
