"""Which code asks for the time of day: what waits or expires must not, since that clock may jump."""

import ast
from collections.abc import Iterator

from tests.support.project import ROOT

PACKAGE = ROOT / "proxy" / "rerank_proxy"
TIME_OF_DAY = {
    "app/async_searches.py": "the start and expiration that Elasticsearch's API shows; a timer ends them",
    "app/recent.py": "when a search or call ended, as the status page shows",
    "cli/check.py": "whether a certificate expires soon",
    "cli/judged.py": "when judgments were written, as the file beside them says",
    "inference/remote/clock.py": "`Retry-After` may be a date; tokens of vendors expire at one",
    "observe/access_log.py": "when a request ended, as its line says",
    "observe/edge_metrics.py": "when a request with an exemplar was counted",
    "observe/log_json.py": "when a line was made",
    "observe/log_times.py": "how a time is written in lines of the log",
    "pages/status.py": "since when the proxy has run, as its page shows",
    "relevance/evaluation/running.py": "when an evaluation ended, as its report says",
    "relevance/judging/acts.py": "when a judge gave a grade",
    "relevance/client/searching.py": "`Retry-After` may be a date",
    "relevance/training/results.py": "the date on a model's card",
    "tls/development.py": "from when to when certificates for development are valid",
    "tls/owned.py": "whether a certificate expires soon; the log says so",
    "tracing/trace.py": "when spans began and ended; their lengths are measured otherwise",
    "trained_models/catalogue.py": "when a model was created",
}
WALL_CLOCKS = {"time", "time_ns", "now", "utcnow", "today", "localtime", "gmtime", "ctime"}


def asked() -> Iterator[str]:
    for path in sorted(PACKAGE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if (
                isinstance(node, ast.Attribute)
                and node.attr in WALL_CLOCKS
                and isinstance(node.value, ast.Name)
                and node.value.id in ("time", "datetime", "date")
            ):
                yield path.relative_to(PACKAGE).as_posix()


def test_only_what_is_shown_follows_the_time_of_day() -> None:
    assert set(asked()) == TIME_OF_DAY.keys()
