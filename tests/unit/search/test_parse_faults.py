"""Faults that upstream finds, in what encloses them in the client's body.

Upstream is a parser here that knows one fault: the key `bogus`. The live tests compare with the real one.
"""

import json
from typing import Any, Final

import pytest

from rerank_proxy.errors import ElasticsearchError, error
from rerank_proxy.search.parse_faults import MAX_QUESTIONS, find_parse_fault, may_be_parse_fault
from rerank_proxy.upstream.protocol import Reply, UpstreamRefusedError
from rerank_proxy.xcontent.faults import ParseError
from rerank_proxy.xcontent.positions import line_column
from rerank_proxy.xcontent.source import Node, parse, walk
from tests.support.retrievers import RESCORE, chain, diversify, linear, pinned, rescorer, rrf, rule, texts
from tests.support.searches import KNN, QUERY, RERANKER, STANDARD, reranking

JSON = dict[str, Any]

BOGUS: Final[JSON] = {"bool": {"must": {"bogus": {}}}}
BAD: Final[JSON] = {"standard": {"query": BOGUS}}
INNERMOST: Final = "unknown query [bogus]"
AGGS: Final = {"aggs": {"a": {"bogus": 1}}}


def refused(error_: JSON, status: int = 400) -> Reply:
    return Reply(status, [], json.dumps({"error": {"root_cause": [], **error_}, "status": status}).encode())


class Parser:
    """Reads a search as Elasticsearch does, and never runs it.

    Attributes:
        asked: Targets and bodies.
    """

    caller = b"the test"

    def __init__(self) -> None:
        self.asked: list[tuple[str, bytes]] = []

    async def request(self, method: str, target: str, body: bytes) -> Reply:
        assert method == "GET"
        assert target.startswith("/_search?size=-1")
        self.asked.append((target, body))
        return refused(self._fault(parse(body)))

    def _fault(self, root: Node) -> JSON:
        for name, member in root.members.items():
            if name == "retriever" and member.raw == b"0":
                return parsing_exception("Unknown key for a VALUE_NUMBER in [retriever].", member)
            bad = [node.members["bogus"] for node in walk(member) if "bogus" in node.members]
            if bad:
                return self._enclosed(name, member, min(bad, key=lambda node: node.start))
        reason = "[size] parameter cannot be negative, found [-1]"
        return {"type": "illegal_argument_exception", "reason": reason}

    def _enclosed(self, name: str, member: Node, bad: Node) -> JSON:
        fault = parsing_exception(INNERMOST, bad)
        if name == "knn":
            ((field, value),) = member.members.items()
            if field == "query_vector_builder":
                fault = x_content(
                    f"[{field}] failed to parse field [{next(iter(value.members))}]", bad, fault
                )
            return x_content(f"[knn] failed to parse field [{field}]", bad, fault)
        if name == "retriever":
            ((type_, inner),) = member.members.items()
            field = next(iter(inner.members))
            return x_content(f"[{type_}] failed to parse field [{field}]", bad, fault)
        return fault


def parsing_exception(reason: str, node: Node) -> JSON:
    line, column = node.line_column()
    return {"type": "parsing_exception", "reason": reason, "line": line, "col": column}


def x_content(reason: str, node: Node, cause: JSON) -> JSON:
    line, column = node.line_column()
    reason = f"[{line}:{column}] {reason}"
    return {"type": "x_content_parse_exception", "reason": reason, "caused_by": cause}


class Fixed(Parser):
    """Gives the same answer to whatever is asked."""

    def __init__(self, reply: Reply) -> None:
        super().__init__()
        self.reply = reply

    async def request(self, method: str, target: str, body: bytes) -> Reply:
        self.asked.append((target, body))
        return self.reply


async def find(body: JSON | bytes, upstream: Parser | None = None, style: str = "") -> Any:
    data = body if isinstance(body, bytes) else json.dumps(body, indent=1).encode()
    return await find_parse_fault(data, upstream or Parser(), style)


async def find_in(tree: JSON) -> ParseError:
    fault = await find({"retriever": tree})
    assert isinstance(fault, ParseError)
    assert fault.status == 400
    return fault


RETRIEVER_OF: Final = "[{}] failed to parse field [retriever]"
STANDARD_OF: Final = [
    "[retriever] failed to parse field [standard]",
    "[standard] failed to parse field [query]",
    INNERMOST,
]


@pytest.mark.parametrize(
    ("tree", "expected"),
    [
        (reranking(BAD)["retriever"], [RETRIEVER_OF.format(RERANKER), *STANDARD_OF]),
        (diversify(BAD), [RETRIEVER_OF.format("diversify"), *STANDARD_OF]),
        (rescorer(BAD), [RETRIEVER_OF.format("rescorer")] * 2 + STANDARD_OF),
        (pinned(BAD), [RETRIEVER_OF.format("pinned")] * 2 + STANDARD_OF),
        (rule(BAD), [RETRIEVER_OF.format("rule")] * 2 + STANDARD_OF),
        (rrf(STANDARD, BAD), ["[rrf] failed to parse field [retrievers]", *STANDARD_OF[1:]]),
        (
            rrf({"retriever": BAD, "weight": 2}),
            ["[rrf] failed to parse field [retrievers]", *STANDARD_OF[1:]],
        ),
        (
            linear(STANDARD, BAD),
            [
                "[linear] failed to parse field [retrievers]",
                "[retriever-component] failed to parse field [retriever]",
                *STANDARD_OF,
            ],
        ),
        (
            reranking(rescorer(BAD))["retriever"],
            [
                RETRIEVER_OF.format(RERANKER),
                "[retriever] failed to parse field [rescorer]",
                *[RETRIEVER_OF.format("rescorer")] * 2,
                *STANDARD_OF,
            ],
        ),
        (reranking(filter=BOGUS)["retriever"], [f"[{RERANKER}] failed to parse field [filter]", INNERMOST]),
        (
            reranking(filter=[QUERY, BOGUS])["retriever"],
            [f"[{RERANKER}] failed to parse field [filter]", INNERMOST],
        ),
        (rrf(KNN, filter=BOGUS), ["[rrf] failed to parse field [filter]", INNERMOST]),
        (
            diversify(KNN, query_vector_builder={"lookup": {"bogus": 1}}),
            [
                "[diversify] failed to parse field [query_vector_builder]",
                "[query_vector_builder] failed to parse field [lookup]",
                INNERMOST,
            ],
        ),
    ],
)
async def test_what_encloses_a_fault(tree: JSON, expected: list[str]) -> None:
    assert texts(await find_in(tree)) == expected


async def test_every_enclosing_message_has_the_place_of_the_fault() -> None:
    data = json.dumps({"_source": "é", "retriever": reranking(BAD)["retriever"]}, indent=2).encode()
    fault = await find(data)
    line, column = line_column(data, data.index(b"{", data.index(b"bogus")))
    *outer, (_, innermost) = chain(fault)
    assert all(reason.startswith(f"[{line}:{column}] ") for _, reason in outer)
    assert innermost == INNERMOST
    assert fault.body()["error"]["root_cause"] == [
        {"type": "parsing_exception", "reason": INNERMOST, "line": line, "col": column}
    ]


SORT: Final[JSON] = {"standard": {"sort": {"bogus": 1}}}
COLLAPSE: Final[JSON] = {"standard": {"collapse": {"bogus": 1}}}
BAD_RESCORE: Final[JSON] = {"query": {"rescore_query": {"bogus": {}}}}


BOTH: Final[list[JSON]] = [{"sort": {"bogus": 1}}, {"filter": BOGUS}]


@pytest.mark.parametrize(
    ("tree", "parser", "field"),
    [
        (rescorer(SORT, BAD_RESCORE), "standard", "sort"),
        ({"rescorer": {"rescore": BAD_RESCORE, "retriever": SORT}}, "rescorer", "rescore"),
        (rescorer(STANDARD, [RESCORE, BAD_RESCORE]), "rescorer", "rescore"),
        (rrf(STANDARD, COLLAPSE, SORT), "standard", "collapse"),
        (rrf(COLLAPSE, BAD), "standard", "collapse"),
        (rrf(BAD, COLLAPSE), "standard", "query"),
        (rrf({"standard": {"query": QUERY, **BOTH[0], **BOTH[1]}}), "standard", "sort"),
        (rrf({"standard": {"query": QUERY, **BOTH[1], **BOTH[0]}}), "standard", "filter"),
    ],
)
async def test_the_first_fault_in_the_text(tree: JSON, parser: str, field: str) -> None:
    *_, encloses, innermost = texts(await find_in(tree))
    assert (encloses, innermost) == (f"[{parser}] failed to parse field [{field}]", INNERMOST)


async def test_faults_beside_the_retriever_are_upstreams_answer() -> None:
    body = {**reranking(), **AGGS}
    data = json.dumps(body, indent=1).encode()
    fault = await find(data)
    assert isinstance(fault, UpstreamRefusedError)
    told = json.loads(fault.reply.body)["error"]
    line, column = line_column(data, data.index(b"1", data.index(b"bogus")))
    assert (told["reason"], told["line"], told["col"]) == (INNERMOST, line, column)


@pytest.mark.parametrize(
    ("body", "in_tree"),
    [
        ({**AGGS, **reranking(BAD)}, False),
        ({**reranking(BAD), **AGGS}, True),
        ({"size": 3, **reranking(BAD), **AGGS}, True),
        ({**AGGS, **reranking()}, False),
    ],
)
async def test_beside_the_retriever_and_in_it(body: JSON, in_tree: bool) -> None:
    assert isinstance(await find(body), ParseError if in_tree else UpstreamRefusedError)


@pytest.mark.parametrize(
    ("body", "requests"),
    [
        (reranking(), 1),
        (reranking({"standard": {}}), 0),
        ({**reranking(), "size": 3}, 2),
        (reranking(BAD), 1),
        ({**reranking(BAD), "size": 3}, 1),
        ({"size": 3, **reranking(BAD)}, 2),
        ({"retriever": rrf(*[SORT] * 3)}, 1),
        ({"retriever": rrf(*[{"standard": {"sort": ["n"]}}] * 3)}, 3),
        ({"retriever": rrf(*[{"standard": {"sort": ["n"]}}] * 40), "size": 1}, MAX_QUESTIONS + 1),
        ({"retriever": rrf(*[STANDARD] * 40)}, 1),
    ],
)
async def test_how_often_upstream_is_asked(body: JSON, requests: int) -> None:
    parser = Parser()
    await find(body, parser)
    assert len(parser.asked) == requests


async def test_nothing_is_found_where_nothing_is_wrong() -> None:
    assert await find({"from": 1, **reranking(rrf(STANDARD, KNN, filter=QUERY)), "size": 3}) is None


async def test_errors_beside_the_retriever_are_in_the_clients_style() -> None:
    parser = Parser()
    await find({**reranking(), **AGGS}, parser, "pretty&error_trace")
    assert [target for target, _ in parser.asked] == [
        "/_search?size=-1",
        "/_search?size=-1&pretty&error_trace",
    ]


@pytest.mark.parametrize(
    "reply",
    [
        Reply(400, [], b"<html>"),
        Reply(400, [], b"[]"),
        Reply(400, [], b'{"error":"no"}'),
        Reply(400, [], b'{"error":{"type":null}}'),
        Reply(403, [], b'{"error":{"type":"security_exception","reason":"no"}}'),
        Reply(406, [], b'{"error":"Content-Type header [x] is not supported","status":406}'),
        Reply(503, [], b""),
    ],
)
async def test_answers_that_say_nothing_of_the_body(reply: Reply) -> None:
    assert await find({**reranking(), "size": 3}, Fixed(reply)) is None
    assert not may_be_parse_fault(reply)


async def test_other_errors_than_the_values_own_are_no_faults_of_the_tree() -> None:
    other = refused({"type": "parsing_exception", "reason": None, "caused_by": {"type": "a", "reason": None}})
    assert await find(reranking(), Fixed(other)) is None
    elsewhere = x_content("[bool] failed to parse field [must]", parse(b"0"), {"type": "a", "reason": "b"})
    assert await find(reranking(), Fixed(refused(elsewhere))) is None


async def test_an_answer_from_beyond_the_text_is_taken_as_it_is() -> None:
    cause = {"type": "illegal_argument_exception", "reason": "odd"}
    odd = {"type": "x_content_parse_exception", "reason": "[99:1] [knn] failed to parse field [filter]"}
    fault = await find(reranking(), Fixed(refused({**odd, "caused_by": cause})))
    assert texts(fault)[-1] == "odd"


async def test_all_that_an_error_holds_is_kept() -> None:
    cause: JSON = {
        "type": "script_exception",
        "reason": "compile error",
        "script_stack": ["a", "b"],
        "caused_by": {"type": "illegal_argument_exception", "reason": "inner"},
        "suppressed": [{"type": "illegal_argument_exception", "reason": "beside"}],
    }
    answer = x_content("[knn] failed to parse field [filter]", parse(b"0"), cause)
    fault = await find(reranking(), Fixed(refused(answer)))
    innermost = fault.body()["error"]
    while innermost["type"] != "script_exception":
        innermost = innermost["caused_by"]
    assert innermost == cause


@pytest.mark.parametrize("character", ["a", "é", "\U0001f511", "\x7f"])
async def test_the_text_that_errors_quote_is_the_clients(character: str) -> None:
    """The tokenizer quotes how the text begins, which in a question is not what the client wrote."""

    class Quoting(Parser):
        async def request(self, method: str, target: str, body: bytes) -> Reply:
            reply = await super().request(method, target, body)
            shown = body[:500].decode("utf-8", "replace").replace("\x7f", "\\u007F").replace("\t", "\\u0009")
            more = f"[truncated {len(body) - 500} bytes]" if len(body) > 500 else ""
            printed = json.dumps(f'"{shown}"{more}', ensure_ascii=False)[1:-1]
            # Elasticsearch prints characters beyond the basic plane as two escapes.
            printed = printed.replace("\U0001f511", "\\uD83D\\uDD11")
            return Reply(reply.status, [], reply.body.replace(b"unknown query [bogus]", printed.encode()))

    bad = {"match": {character: {"bogus": 1}}}
    for padding in ("", "x" * 600):
        tree = reranking({"standard": {"query": bad}}, _name=padding)
        data = json.dumps(tree, ensure_ascii=False, indent="\t").encode()
        *_, quoted = texts(await find(data, Quoting()))
        assert quoted.startswith('"{\n\\u0009\\"retriever\\"'.replace('\\"', '"'))
        assert ("[truncated" in quoted) is bool(padding)
        assert "knn" not in quoted


@pytest.mark.parametrize(
    ("status", "type_", "may_be"),
    [
        (400, "parsing_exception", True),
        (400, "illegal_argument_exception", True),
        (500, "null_pointer_exception", True),
        (400, "search_phase_execution_exception", False),
        (500, "search_phase_execution_exception", False),
        (404, "index_not_found_exception", False),
        (429, "es_rejected_execution_exception", False),
    ],
)
def test_refusals_to_look_into(status: int, type_: str, may_be: bool) -> None:
    assert may_be_parse_fault(refused({"type": type_, "reason": "r"}, status)) is may_be


async def test_an_upstream_that_does_not_answer() -> None:
    class Gone(Parser):
        async def request(self, method: str, target: str, body: bytes) -> Reply:
            raise error(502, "status_exception", "gone")

    with pytest.raises(ElasticsearchError, match="gone"):
        await find(reranking(), Gone())
