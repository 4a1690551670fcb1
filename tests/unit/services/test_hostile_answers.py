"""Any answer of a hostile vendor is a failure in Elasticsearch's shape, soon, and the call is not retried."""

import gzip
import json
import tracemalloc
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager
from functools import partial
from itertools import chain, repeat
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rerank_proxy.inference.endpoints import Endpoint
from rerank_proxy.inference.failures import InferenceFailedError
from rerank_proxy.inference.ranking import RerankRequest
from tests.support.examples import examples
from tests.support.processor_time import spending
from tests.support.remote import Remote
from tests.support.vendors import CASES, Asked, Case
from tests.support.vendors.raw import KEEP, RawVendor, Script, http, once, serving_raw

TEXTS = ["a 0.25", "b 0.75", "c 0.5"]
ASKED = Asked("q", TEXTS)
MANY = 1 << 16
OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"
TO_THE_END = OK + b"Content-Type: application/json\r\n\r\n"

each_service = pytest.mark.parametrize("case", CASES, ids=str)


def without_end(*pieces: bytes) -> Iterator[bytes]:
    """Return the pieces, and the last one without an end."""
    return chain(pieces[:-1], repeat(pieces[-1]))


def results(case: Case, *pairs: tuple[Any, Any]) -> bytes:
    return json.dumps(case.wire.answer(ASKED, pairs)).encode()


def row_after_row(case: Case) -> Iterator[bytes]:
    """Return results in the vendor's form, without an end."""
    one = results(case, (0, 1.0))
    start = one.rindex(b"[{")
    row = one[start + 1 : one.rindex(b"}]") + 1]
    return without_end(TO_THE_END + one[: start + 1], (row + b",") * 1000)


FRAMES: dict[str, Iterable[bytes]] = {
    "HTTP/0.9": [b"hello\r\n"],
    "a version of 0.9": [b"HTTP/0.9 200 OK\r\n\r\n{}"],
    "a version of 2.0": [b"HTTP/2.0 200 OK\r\nContent-Length: 2\r\n\r\n{}"],
    "no HTTP": [b"\x16\x03\x01\x00\xa5" * 10],
    "two lengths": [OK + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}"],
    "a negative length": [OK + b"Content-Length: -2\r\n\r\n{}"],
    "a length of many digits": [OK + b"Content-Length: 99999999999999999999\r\n\r\n{}"],
    "a length that does not come": [OK + b"Content-Length: 50\r\n\r\n{}"],
    "a bad chunk": [CHUNKED + b"zz\r\n{}\r\n0\r\n\r\n"],
    "a chunk that does not come": [CHUNKED + b"ff\r\n{}"],
    "a header without a name": [OK + b": x\r\nContent-Length: 2\r\n\r\n{}"],
    "switching protocols": [b"HTTP/1.1 101 X\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n" + b"x" * 100],
    "a redirection": [b"HTTP/1.1 302 X\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n"],
    "no content": [b"HTTP/1.1 204 X\r\n\r\n"],
    "gzip that is none": [http(b"{}", "Content-Encoding: gzip")],
    "gzip": [http(gzip.compress(bytes(60_000_000), 1), "Content-Encoding: gzip")],
    "deflate": [http(b"{}", "Content-Encoding: deflate")],
    "br": [http(b"\x0b\x00\x80{}\x03", "Content-Encoding: br")],
    "zstd": [http(b"\x28\xb5\x2f\xfd{}", "Content-Encoding: zstd")],
    "two codings": [http(b"{}", "Content-Encoding: identity", "Content-Encoding: x-gzip, br")],
    "a status of 999": [http(b"{}", status="999 X")],
}
FLOODS: dict[str, tuple[bytes, ...]] = {
    "100 Continue": (b"HTTP/1.1 100 Continue\r\n\r\n" * 1000,),
    "103 Early Hints": (b"HTTP/1.1 103 X\r\nLink: </x>\r\n\r\n" * 1000,),
    "empty lines": (b"\r\n" * MANY,),
    "a status line": (b"HTTP/1.1 200 ", b"x" * MANY),
    "a header": (OK + b"a: ", b"x" * MANY),
    "blanks before a value": (OK + b"a:", b" " * MANY),
    "headers": (OK, b"a: b\r\n" * 1000),
    "a chunk's extension": (CHUNKED + b"1;", b"x" * MANY),
    "chunks of one byte": (CHUNKED, b"1\r\n \r\n" * 1000),
    "trailers": (CHUNKED + b"2\r\n{}\r\n0\r\n", b"a: b\r\n" * 1000),
    "a redirection": (b"HTTP/1.1 302 X\r\nLocation: /\r\n\r\n", b" " * MANY),
    "a refusal": (b"HTTP/1.1 400 X\r\n\r\n", b" " * MANY),
    "blanks": (TO_THE_END, b" " * MANY),
    "nesting": (TO_THE_END + b'{"x":', b"[" * MANY),
    "empty objects": (TO_THE_END + b'{"x":[', b"{}," * MANY),
    "a list of nothing": (TO_THE_END, b"[]," * MANY),
    "members": (TO_THE_END + b"{", b'"x":1,' * MANY),
    "digits": (TO_THE_END + b'{"x":', b"1" * MANY),
    "a text": (TO_THE_END + b'{"x":"', b"x" * MANY),
    "nulls": (TO_THE_END, bytes(MANY)),
}
BODIES: dict[str, bytes] = {
    "nested 50,000 deep": b'{"x":' + b"[" * 400 + b"]" * 400 + b"}",
    "nested beyond what is counted": b"[" * 1000,
    "a number of many digits": b'{"results":' + b"1" * 50_000 + b"}",
    "a name of many letters": b'{"' + b"x" * 50_000 + b'":1}',
    "not UTF-8": b'{"results":[{"index":0,"relevance_score":"\xff"}]}',
    "half a surrogate pair": b'{"\\ud800": "\\udfff"}',
    "UTF-16 without a mark": '{"results":[]}'.encode("utf-16-le"),
    "half a character of UTF-16": '{"results":[]}'.encode("utf-16")[:-1],
    "a mark in the middle": b'{"results":\xef\xbb\xbf[]}',
    "two marks": b'\xef\xbb\xbf\xef\xbb\xbf{"results":[]}',
    "a mark of byte order": b"\xef\xbb\xbf{}",
}
BAD_INDICES: list[Any] = [
    True,
    None,
    [0],
    {},
    "1_0",
    "one",
    "",
    " 1",
    0.5,
    1e300,
    -1e300,
    10**400,
    2**64,
    3,
    -1,
    "\u0661",
]
BAD_SCORES: list[Any] = [
    True,
    None,
    [1],
    {},
    "1_0",
    "nan",
    "Infinity",
    "",
    "0x1",
    1e300,
    -1e300,
    10**400,
    float("nan"),
    1e39,
]


@asynccontextmanager
async def calling(case: Case) -> AsyncIterator[tuple[Remote, RawVendor, Endpoint]]:
    async with serving_raw() as vendor:
        gateways = {case.service: vendor.url} if case.by_base_url else {}
        remote = Remote(base_urls=gateways, breaker_failures=1000)
        endpoint = remote.endpoint(case.service, case.settings(vendor.url), case.task_settings)
        try:
            yield remote, vendor, endpoint
        finally:
            await remote.client.close()


async def fails(remote: Remote, endpoint: Endpoint) -> InferenceFailedError:
    """Call the endpoint, which fails, and return the failure."""
    request = RerankRequest("q", TEXTS, task_settings=endpoint.config.task_settings)
    with pytest.raises(InferenceFailedError) as raised:
        await endpoint.rank(request, remote.deadline())
    body = raised.value.body()
    assert set(body) == {"error", "status"}
    assert body["status"] in (400, 401, 403, 404, 413, 500)
    assert body["error"]["type"] in ("status_exception", "illegal_state_exception")
    assert body["error"]["root_cause"][0]["reason"] == body["error"]["reason"]
    assert len(json.dumps(body)) < 2000
    return raised.value


async def check(case: Case, scripts: dict[str, Script], *, of_token: bool = False) -> None:
    """Check that every answer fails its call at the first attempt."""
    async with calling(case) as (remote, vendor, endpoint):
        for number, (name, script) in enumerate(scripts.items(), 1):
            vendor.sent = 0
            if of_token:
                vendor.token = script
            else:
                vendor.scripts = [script]
            with spending() as spent:
                await fails(remote, endpoint)
            assert spent.seconds < 3, name
            assert vendor.sent < 16 * 1024 * 1024, name
            assert len(vendor.requests) == (0 if of_token else number), name
        assert remote.clock.slept == []


@each_service
async def test_frames(case: Case) -> None:
    await check(case, {name: once(*pieces) for name, pieces in FRAMES.items()})


@each_service
async def test_floods(case: Case) -> None:
    floods: dict[str, Script] = {name: partial(without_end, *pieces) for name, pieces in FLOODS.items()}
    await check(case, {**floods, "results": lambda: row_after_row(case)})


@each_service
async def test_bodies(case: Case) -> None:
    await check(case, {name: once(http(body), KEEP) for name, body in BODIES.items()})


@each_service
async def test_results(case: Case) -> None:
    answers = {f"index {index}": results(case, (index, 1.0)) for index in BAD_INDICES}
    answers |= {f"score {score}": results(case, (0, score)) for score in BAD_SCORES}
    answers["one twice"] = results(case, (0, 1.0), (0, 0.5))
    answers["more than inputs"] = results(case, *((number, 1.0) for number in (0, 1, 2, 0)))
    await check(case, {name: once(http(body), KEEP) for name, body in answers.items()})


@pytest.mark.parametrize("case", [case for case in CASES if case.has_tokens], ids=str)
async def test_tokens(case: Case) -> None:
    bodies = [
        *BODIES.values(),
        b"{}",
        b'{"access_token": 5}',
        b'{"access_token": ""}',
        b'{"access_token": "a b"}',
    ]
    bodies += [b'{"access_token": "a\\r\\nX: y"}', b'{"access_token": "%s"}' % (b"x" * 20_000)]
    bodies += [b'{"access_token": "x", "expires_in": true}', b'{"access_token": "x", "expires_in": NaN}']
    scripts: dict[str, Script] = {str(body): once(http(body), KEEP) for body in bodies}
    scripts |= {name: once(*pieces) for name, pieces in FRAMES.items()}
    scripts |= {name: partial(without_end, *pieces) for name, pieces in FLOODS.items()}
    await check(case, scripts, of_token=True)


REFUSALS = ("blanks", "nesting", "a text", "chunks of one byte")


@pytest.mark.parametrize(
    ("status", "flood"),
    [
        *(("500 X", flood) for flood in REFUSALS),
        ("503 X", "blanks"),
        ("429 X", "blanks"),
        # Statuses differ in what is tried again, floods in what is read: few are of interest together.
        *(
            pytest.param(status, flood, marks=pytest.mark.long)
            for status in ("503 X", "429 X")
            for flood in REFUSALS[1:]
        ),
    ],
)
async def test_refusals_without_end_are_cut_short(status: str, flood: str) -> None:
    case = next(case for case in CASES if case.service == "hugging_face")
    first, *rest = FLOODS[flood]
    async with calling(case) as (remote, vendor, endpoint):
        vendor.scripts = [lambda: without_end(first.replace(b"200 OK", status.encode()), *rest)]
        failure = await fails_busy(remote, endpoint)
        assert f"status [{status[:3]}]" in str(failure)
        assert vendor.sent < len(vendor.requests) * 16 * 1024 * 1024


async def fails_busy(remote: Remote, endpoint: Endpoint) -> InferenceFailedError:
    with pytest.raises(InferenceFailedError) as raised:
        await endpoint.scores("q", TEXTS, remote.deadline())
    return raised.value


@each_service
async def test_the_memory_of_an_answer_is_in_proportion_to_it(case: Case) -> None:
    """The largest that is read to its end for three inputs."""
    async with calling(case) as (remote, vendor, endpoint):
        tail = b"[" + b"{}," * 380 + b"{}]"
        vendor.scripts = [lambda: [http(b'{"x":' + tail + b',"y":"' + b"x" * 100_000 + b'"}'), KEEP]]
        await fails(remote, endpoint)
        tracemalloc.start()
        try:
            await fails(remote, endpoint)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert peak < 3 * 100_000 + 500_000


PIECES = st.sampled_from(
    [
        b"HTTP/1.1 200 OK\r\n",
        b"HTTP/1.1 500 X\r\n",
        b"HTTP/1.1 204 X\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\n",
        b"Content-Length: 20\r\n",
        b"Transfer-Encoding: chunked\r\n",
        b"Content-Encoding: gzip\r\n",
        b"Connection: close\r\n",
        b'{"results":[',
        b'{"index":0,"relevance_score":1}',
        *(b"\r\n", b"5\r\n", b"0\r\n\r\n", b"[", b"]", b"{", b"}", b",", b"\x00", b"\xff"),
    ]
)


@given(st.lists(PIECES | st.binary(max_size=20), max_size=12))
@examples(4)
async def test_any_bytes_are_an_answer_or_a_failure(pieces: list[bytes]) -> None:
    case = next(case for case in CASES if case.name == "cohere")
    async with calling(case) as (remote, vendor, endpoint):
        vendor.scripts = [lambda: [piece for piece in pieces if piece]]
        try:
            await endpoint.scores("q", TEXTS, remote.deadline())
        except InferenceFailedError as failure:
            assert failure.status in (400, 500)  # noqa: PT017
