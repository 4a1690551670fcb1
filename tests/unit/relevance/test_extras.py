"""What is missing is said before work begins."""

import sys

import pytest

from rerank_proxy.relevance.errors import RelevanceError
from rerank_proxy.relevance.extras import need


@pytest.mark.parametrize(("extra", "package"), [("evaluate", "jinja2"), ("train", "datasets")])
def test_a_package_that_is_missing(monkeypatch: pytest.MonkeyPatch, extra: str, package: str) -> None:
    need(extra, "it")
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(RelevanceError, match=rf"it needs .* pip install 'rerank-proxy\[{extra}\]'"):
        need(extra, "it")
