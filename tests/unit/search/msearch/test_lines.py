"""The lines of an `_msearch` and the splicing of its answer."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rerank_proxy.errors import ElasticsearchError, error
from rerank_proxy.search.msearch import lines
from rerank_proxy.search.msearch.lines import Item
from rerank_proxy.xcontent.params import parse_params
from rerank_proxy.xcontent.splicing import Printer

line = st.binary(max_size=30).map(lambda text: text.translate(None, b"\n\0"))
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
objects = st.dictionaries(st.text(), json_values, max_size=4)


class TestLines:
    @given(st.lists(st.tuples(line, line)))
    def test_what_is_split_goes_together_again(self, pairs: list[tuple[bytes, bytes]]) -> None:
        items = [Item(header, body) for header, body in pairs]
        request = lines.split(b"".join(item.lines() for item in items))
        assert request == lines.MultiRequest(items, b"", terminated=True)

    @pytest.mark.parametrize("encoding", ["utf-16", "utf-16-be", "utf-32-le", "utf-32"])
    def test_each_line_has_an_encoding_of_its_own(self, encoding: str) -> None:
        request = lines.split(b"{}\n" + '{"size":1}'.encode(encoding) + b'\n\n{"size":2}\n')
        assert request.items == [Item(b"{}", b'{"size":1}'), Item(b"", b'{"size":2}')]

    def test_a_line_of_no_encoding_is_refused(self) -> None:
        with pytest.raises(ElasticsearchError, match="UTF-32"):
            lines.split("{}".encode("utf-32-be") + b"\0\n{}\n")

    @given(st.binary())
    def test_no_encoding_makes_a_line_two(self, body: bytes) -> None:
        try:
            request = lines.split(body)
        except ElasticsearchError as refused:
            assert refused.status == 400  # noqa: PT017  # most bytes are of some encoding
        else:
            assert all(b"\n" not in item.header + item.body for item in request.items)

    @pytest.mark.parametrize(
        ("body", "items", "dangling", "terminated"),
        [
            (b"", 0, b"", True),
            (b"\n", 0, b"", True),
            (b"{}\n", 0, b"{}", True),
            (b"{}\n{}", 0, b"{}", False),
            (b"{}\n{}\n", 1, b"", True),
            (b"{}\n{}\n\n", 1, b"", True),
            (b"{}\n{}\n{}", 1, b"", False),
            (b"\n{}\n\n{}\n", 2, b"", True),
        ],
    )
    def test_where_items_end(self, body: bytes, items: int, dangling: bytes, terminated: bool) -> None:
        request = lines.split(body)
        assert (len(request.items), request.dangling, request.terminated) == (items, dangling, terminated)

    @given(objects)
    def test_a_body_of_many_lines_becomes_one(self, value: dict[str, Any]) -> None:
        line = lines.one_line(json.dumps(value, indent=1, ensure_ascii=False).encode("utf-8", "replace"))
        assert b"\n" not in line
        assert json.loads(line) == json.loads(
            json.dumps(value, ensure_ascii=False).encode("utf-8", "replace")
        )

    @given(st.binary())
    def test_no_body_becomes_several_lines(self, body: bytes) -> None:
        """A rendered template is any text: it must not smuggle in lines of its own."""
        line = lines.one_line(body)
        assert b"\n" not in line
        assert b"\r" not in line or b"\r" in body

    @pytest.mark.parametrize(
        ("body", "line"),
        [
            (b'{"a":1}', b'{"a":1}'),
            (b'{\n"a":1\r\n}', b'{ "a":1 }'),
            (b'{ // one\n"a":/* two\n */"//\\"/*"\n}', b'{   "a": "//\\"/*" }'),
            (b'"a\nb"', b'"a b"'),
            (b'"a\\\nb"', b'"a\\ b"'),
        ],
    )
    def test_line_ends_and_comments_go(self, body: bytes, line: bytes) -> None:
        assert lines.one_line(body) == line


class TestHeaders:
    @pytest.mark.parametrize(
        ("index", "query", "header", "expected"),
        [
            ("a", "", b"", {"index": "a"}),
            ("a", "", b" \r", {"index": "a"}),
            ("a", "", b"null", {"index": "a"}),
            ("a", "", b"5", {"index": "a"}),
            ("a%2Cb,%3Cc%3E", "", b"{}", {"index": "a,b,<c>"}),
            (None, "index=b", b"{}", {"index": "b"}),
            ("a", "index=b", b"{}", {"index": "a"}),
            ("a", "", b'{"index":"b"}', {"index": "b"}),
            ("a", "", b'{"indices":["b"]}', {"indices": ["b"]}),
            ("a", "", b'{"index":[]}', {"index": []}),
            (None, "routing=r&search_type=s", b'{"routing":"q"}', {"routing": "q", "search_type": "s"}),
            (None, "ignore_unavailable=true", b'{"ignoreUnavailable":false}', {"ignoreUnavailable": False}),
            (
                None,
                "ccs_minimize_roundtrips=false",
                b'{"ccsMinimizeRoundtrips":true,"index":"x"}',
                {"index": "x", "ccs_minimize_roundtrips": "false"},
            ),
            (None, "pretty&max_concurrent_searches=3&typed_keys", b'{"index":"x"}', {"index": "x"}),
        ],
    )
    def test_the_url_fills_in(self, index: str | None, query: str, header: bytes, expected: Any) -> None:
        defaults = lines.url_defaults(index, parse_params(query))
        (merged,) = lines.with_defaults([Item(header, b"{}")], defaults)
        assert json.loads(merged.header) == expected
        assert merged.body == b"{}"

    @pytest.mark.parametrize("header", [b"{", b"[]", b'{"a":1,"a":2}', b"x"])
    def test_what_cannot_be_read_stays(self, header: bytes) -> None:
        item = Item(header, b"{}")
        assert lines.with_defaults([item, item], {"index": b'"a"'}) == [item, item]

    def test_what_needs_nothing_stays(self) -> None:
        item = Item(b'{ "index" : "a" }', b"{}")
        assert lines.with_defaults([item], {"index": b'"b"'}) == [item]

    def test_what_is_in_the_headers_is_not_in_the_url(self) -> None:
        query = "pretty&index=a&routing=b&max_concurrent_searches=3&foo=1&expand_wildcards=all"
        assert lines.shared_query(parse_params(query)) == "pretty&max_concurrent_searches=3&foo=1"

    @pytest.mark.parametrize(
        ("header", "index", "query"),
        [
            (b"", None, ""),
            (b"null", None, ""),
            (b'{"index":"a,b"}', "a%2Cb", ""),
            (b'{"index":["a","<b-{now/d}>"]}', "a%2C%3Cb-%7Bnow%2Fd%7D%3E", ""),
            (b'{"indices":5}', "5", ""),
            (b'{"index":""}', None, ""),
            (b'{"index":[]}', None, ""),
            (b'{"index":true}', "true", ""),
            (b'{"index":"\\ud800"}', "%3F", ""),
            (b'{"routing":1,"preference":"_local&x"}', None, "routing=1&preference=_local%26x"),
            (b'{"routing":null,"search_type":null}', None, ""),
            (b'{"expandWildcards":["open","closed"]}', None, "expand_wildcards=open%2Cclosed"),
            (b'{"allow_partial_search_results":true}', None, "allow_partial_search_results=true"),
            (b'{"requestCache":"false","searchType":"x"}', None, "request_cache=false&search_type=x"),
        ],
    )
    def test_as_of_a_search(self, header: bytes, index: str | None, query: str) -> None:
        found, params = lines.search_params(Item(header, b""), parse_params("pretty&size=5&routing=url"))
        assert found == index
        assert params.without(()) == "&".join(filter(None, ["pretty", query]))

    @pytest.mark.parametrize(
        ("header", "type_", "reason"),
        [
            (
                b'{"foo":1}',
                "illegal_argument_exception",
                "key [foo] is not supported in the metadata section",
            ),
            (b'{"index":null}', "parse_exception", "Expected a list of strings but got null"),
            (b"[]", "x_content_parse_exception", "[1:2] Unexpected token after end of object"),
            (b'{"index":', "x_content_e_o_f_exception", "[1:10] Unexpected end of file"),
        ],
    )
    def test_what_is_refused(self, header: bytes, type_: str, reason: str) -> None:
        with pytest.raises(ElasticsearchError) as refused:
            lines.search_params(Item(header, b""), parse_params(""))
        assert (refused.value.status, refused.value.cause.type) == (400, type_)
        assert refused.value.cause.reason == reason

    @given(
        st.dictionaries(
            st.sampled_from(["preference", "routing", "search_type", "request_cache"]),
            st.text(st.characters(exclude_categories=["Cs"])),
        ),
        st.text(st.characters(exclude_categories=["Cs"])),
    )
    def test_there_and_back(self, options: dict[str, str], index: str) -> None:
        header = {**options, "index": index} if index else options
        found, params = lines.search_params(Item(json.dumps(header).encode(), b""), parse_params("pretty"))
        path = "/_search" if found is None else f"/{found}/_search"
        assert json.loads(lines.header_of(f"{path}?{params.without(())}")) == header


def answer_of(*items: dict[str, Any], pretty: bool) -> bytes:
    printer = Printer(pretty)
    return printer.value({"took": 3, "responses": list(items)}) + printer.end()


HIT = {
    "took": 1,
    "_shards": {},
    "hits": {"total": 1, "hits": [{"_id": "1", "_source": {"a": [], "b": "\n    x"}}]},
}
ERROR = {"error": {"root_cause": [], "type": "x", "reason": "y\n z"}, "status": 404}


@pytest.mark.parametrize("pretty", [False, True])
class TestAnswers:
    def test_items_are_what_searches_answer(self, pretty: bool) -> None:
        printer = Printer(pretty)
        answer = answer_of({**HIT, "status": 200}, ERROR, pretty=pretty)
        assert lines.take_apart(answer) == [
            (200, printer.value(HIT) + printer.end()),
            (404, printer.value(ERROR) + printer.end()),
        ]

    @given(st.lists(st.tuples(objects, st.booleans()), max_size=4))
    def test_what_is_taken_apart_goes_together_again(
        self, pretty: bool, found: list[tuple[dict[str, Any], bool]]
    ) -> None:
        items = [
            {"error": {"type": "x", "more": body}, "status": 400}
            if failed
            else {"took": 1, "_shards": {}, "hits": {}, "more": body, "status": 200}
            for body, failed in found
        ]
        answer = answer_of(*items, pretty=pretty)
        again = []
        for status, body in lines.take_apart(answer):
            item = lines.answered_item(body) if status == 200 else lines.refused_item(body)
            assert item is not None
            again.append(item)
        assert lines.put_together(again, 3, Printer(pretty)) == answer

    def test_own_failures(self, pretty: bool) -> None:
        failure = error(429, "status_exception", "é")
        printer = Printer(pretty)
        item = lines.failed_item(failure, printer)
        assert lines.put_together([item], 3, printer) == answer_of(failure.body(), pretty=pretty)


@pytest.mark.parametrize("source", [b'{"a" : 1.10,\n    "b":[ 1e400 ]}', b'{"a":1,"a":"\\ud800"}'])
def test_sources_keep_their_bytes(source: bytes) -> None:
    body = b'{"took":1,"_shards":{},"hits":{"hits":[{"_source":' + source + b"}]}}"
    answer = b'{"took":1,"responses":[' + body[:-1] + b',"status":200}]}'
    [(status, found)] = lines.take_apart(answer)
    assert (status, found) == (200, body)
    assert lines.put_together([lines.answered_item(found)], 1, Printer(False)) == answer


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b'{"message":"no"}', b'{"error":"no"}'])
def test_answers_that_are_not_elasticsearchs(body: bytes) -> None:
    assert lines.refused_item(body) is None
    assert lines.error_of(body) == ("", "")
