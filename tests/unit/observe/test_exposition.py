"""The formats of metrics, and which one a scraper gets."""

import pytest
from prometheus_client import CollectorRegistry, Counter, Histogram, Info

from rerank_proxy.observe.exposition import OPENMETRICS, TEXT, exposed, wants_openmetrics
from rerank_proxy.observe.families import families, packed, unpacked
from tests.support.metrics import read_openmetrics, read_text

PROMETHEUS_2 = (
    "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,"
    "text/plain;version=0.0.4;q=0.5,*/*;q=0.1"
)
PROMETHEUS_3 = (
    "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,"
    "application/openmetrics-text;version=0.0.1;q=0.4,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.3,"
    "text/plain;version=0.0.4;q=0.2,*/*;q=0.1"
)
"""What those versions send, which is in their sources (`scrape/scrape.go`)."""


@pytest.mark.parametrize(
    ("accept", "openmetrics"),
    [
        ("", False),
        ("*/*", False),
        ("text/plain", False),
        (PROMETHEUS_2, True),
        (PROMETHEUS_3, True),
        ("application/openmetrics-text", True),
        ("Application/OpenMetrics-Text ; Version=1.0.0", True),
        ("application/openmetrics-text; version=2.0.0", False),
        ("application/openmetrics-text;version=1.0.0;q=0", False),
        ("application/openmetrics-text;q=0.2, text/plain;q=0.9", False),
        ("application/openmetrics-text;q=much", False),
        (";;=,=;,", False),
    ],
)
def test_format_by_what_a_scraper_accepts(accept: str, openmetrics: bool) -> None:
    assert wants_openmetrics(accept) is openmetrics


def registry() -> CollectorRegistry:
    made = CollectorRegistry()
    counter = Counter("some_searches", "Some.", ["outcome"], registry=made)
    counter.labels("applied").inc(2, {"trace_id": "abc"})
    seconds = Histogram("some_seconds", "Some.", ["model"], buckets=(0.1, 1), registry=made)
    seconds.labels('a "model"\n').observe(0.5, {"trace_id": "def"})
    Info("some_build", "Some.", registry=made).info({"version": "1"})
    return made


def test_openmetrics_has_units_and_exemplars_and_an_end() -> None:
    metrics = unpacked(packed(families(registry())))
    body, content_type = exposed(metrics, PROMETHEUS_3)
    text = body.decode()
    assert content_type == OPENMETRICS
    assert text.endswith("\n# EOF\n")
    assert "# UNIT some_seconds seconds\n" in text
    read = {family.name: family for family in read_openmetrics(text)}
    assert {name: family.type for name, family in read.items()} == {
        "some_searches": "counter", "some_seconds": "histogram", "some_build": "info",
    }  # fmt: skip
    traces = {
        sample.name: sample.exemplar.labels["trace_id"]
        for family in read.values()
        for sample in family.samples
        if sample.exemplar is not None
    }
    assert traces == {"some_searches_total": "abc", "some_seconds_bucket": "def"}


@pytest.mark.parametrize("accept", ["", PROMETHEUS_3])
def test_both_formats_have_the_same_samples(accept: str) -> None:
    body, content_type = exposed(families(registry()), accept)
    read = read_openmetrics if content_type == OPENMETRICS else read_text
    samples = {
        (sample.name, *(sample.labels[name] for name in sorted(sample.labels, reverse=True))): sample.value
        for family in read(body.decode())
        for sample in family.samples
    }
    model = 'a "model"\n'
    assert samples == {
        ("some_searches_total", "applied"): 2,
        ("some_seconds_bucket", model, "0.1"): 0,
        ("some_seconds_bucket", model, "1.0"): 1,
        ("some_seconds_bucket", model, "+Inf"): 1,
        ("some_seconds_count", model): 1,
        ("some_seconds_sum", model): 0.5,
        ("some_build_info", "1"): 1,
    }


def test_the_text_format_has_no_exemplars() -> None:
    body, content_type = exposed(families(registry()), "text/plain")
    assert content_type == TEXT
    assert b"trace_id" not in body
    assert b"# TYPE some_searches_total counter\n" in body
