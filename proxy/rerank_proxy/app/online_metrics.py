"""Metrics of clicks and comparisons. Labels are endpoints, as those of rerankers, and words of a few."""

from collections.abc import Iterator
from contextlib import suppress
from itertools import islice
from typing import Any, Final, get_args

from prometheus_client import CollectorRegistry, Counter, Gauge

from rerank_proxy.app.endpoint_labels import OTHER, EndpointLabels, Labels
from rerank_proxy.observe.log_lines import short
from rerank_proxy.online.draws import Mode
from rerank_proxy.online.memory import ClickMemory, ClickOutcome, Compared, Decision
from rerank_proxy.online.preference import preference
from rerank_proxy.search.trials import ShadowOutcome

_FIRST_STAGE: Final = "first_stage"
_MOST_SHOWN: Final = 200
"""Rows of each table."""
_MODES: Final[tuple[Mode, ...]] = get_args(Mode)


class OnlineMetrics:
    """Counts what clicks and comparisons come to."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry
        self._labels = EndpointLabels(self._forget)
        self._against: set[tuple[Labels, str]] = set()
        self._searches = Counter(
            "rerank_proxy_online_searches",
            "Reranked searches by the part that they took in a comparison: reranked, shadow, interleaved.",
            ["mode"],
            registry=registry,
        )
        self._shadows = Counter(
            "rerank_proxy_online_shadow_scorings",
            "Searches in the shadow by what became of their scoring: scored, failed, left_out.",
            ["outcome"],
            registry=registry,
        )
        self._clicks = Counter(
            "rerank_proxy_online_clicks",
            "Clicked documents by what became of them: counted, duplicate, not_shown, late, unknown, "
            "elsewhere.",
            ["outcome"],
            registry=registry,
        )
        self._clicked = Counter(
            "rerank_proxy_online_clicked_searches",
            "Searches of which a document was clicked.",
            ["mode", "endpoint", "model"],
            registry=registry,
        )
        self._reciprocal_ranks = Counter(
            "rerank_proxy_online_reciprocal_ranks",
            "Reciprocal ranks of the best clicked document of each search, added up: before and after.",
            ["order", "mode", "endpoint", "model"],
            registry=registry,
        )
        self._interleavings = Counter(
            "rerank_proxy_online_interleavings",
            "Interleaved searches by whose hits were clicked more: win (the reranker's), tie, loss.",
            ["outcome", "endpoint", "model", "against"],
            registry=registry,
        )

    def watch(self, memory: ClickMemory) -> None:
        """Show what is remembered, too."""
        remembered = Gauge(
            "rerank_proxy_online_remembered_searches",
            "Searches whose clicks are counted.",
            registry=self._registry,
        )
        remembered.set_function(lambda: len(memory))
        size = Gauge(
            "rerank_proxy_online_remembered_bytes",
            "Bytes that these searches take.",
            registry=self._registry,
        )
        size.set_function(lambda: memory.size_bytes)

    def search(self, mode: Mode) -> None:
        self._searches.labels(mode).inc()

    def shadow(self, outcome: ShadowOutcome) -> None:
        self._shadows.labels(outcome).inc()

    def clicks(self, outcome: ClickOutcome, number: int) -> None:
        self._clicks.labels(outcome).inc(number)

    def first_click(self, compared: Compared) -> None:
        self._clicked.labels(compared.mode, *self._labels_of(compared)).inc()

    def nearer(self, compared: Compared, before: float, after: float) -> None:
        labels = self._labels_of(compared)
        self._reciprocal_ranks.labels("before", compared.mode, *labels).inc(before)
        self._reciprocal_ranks.labels("after", compared.mode, *labels).inc(after)

    def decided(self, compared: Compared, decision: Decision) -> None:
        labels = self._labels_of(compared)
        against = _FIRST_STAGE if compared.against is None else compared.against
        if labels[0] == OTHER:
            against = OTHER
        if (labels, against) not in self._against:
            self._against.add((labels, against))
            for each in get_args(Decision):  # so that all are there, and can be subtracted
                self._interleavings.labels(each, *labels, against)
        self._interleavings.labels(decision, *labels, against).inc()

    def shown(self) -> dict[str, list[dict[str, Any]]]:
        """Return what clicks have come to since the start, for the status page, ready for JSON."""
        return {
            "mrr": [*islice(self._mrr(), _MOST_SHOWN)],
            "interleaved": [*islice(self._interleaved(), _MOST_SHOWN)],
        }

    def _mrr(self) -> Iterator[dict[str, Any]]:
        ranks = {tuple(labels.values()): value for labels, value in _samples(self._reciprocal_ranks)}
        for labels, searches in _samples(self._clicked):
            sums = {order: ranks.get((order, *labels.values()), 0.0) for order in ("before", "after")}
            yield {
                **{name: short(value) for name, value in labels.items()},
                "searches": int(searches),
                **{order: each / searches for order, each in sums.items()},
            }

    def _interleaved(self) -> Iterator[dict[str, Any]]:
        counts = {tuple(labels.values()): int(value) for labels, value in _samples(self._interleavings)}
        for (endpoint, model), against in sorted(self._against):
            win, tie, loss = (counts[each, endpoint, model, against] for each in get_args(Decision))
            preferred = preference(win, loss)
            yield {
                "endpoint": short(endpoint),
                "model": short(model),
                "against": short(against),
                "win": win,
                "tie": tie,
                "loss": loss,
                "preferred": None if preferred is None else preferred._asdict(),
            }

    def endpoint_gone(self, endpoint: str) -> None:
        """Drop the series of an endpoint that was deleted."""
        self._labels.gone(endpoint)

    def _labels_of(self, compared: Compared) -> Labels:
        return self._labels.for_pair(compared.endpoint, compared.model)

    def _forget(self, labels: Labels) -> None:
        for mode in _MODES:
            _remove(self._clicked, mode, *labels)
            for order in ("before", "after"):
                _remove(self._reciprocal_ranks, order, mode, *labels)
        for of, against in [each for each in self._against if each[0] == labels]:
            self._against.discard((of, against))
            for decision in get_args(Decision):
                _remove(self._interleavings, decision, *labels, against)


def _samples(counter: Counter) -> Iterator[tuple[dict[str, str], float]]:
    """Yield the labels of each series of a counter, in the counter's order, and its value."""
    for family in counter.collect():
        for sample in family.samples:
            if sample.name.endswith("_total"):
                yield sample.labels, sample.value


def _remove(counter: Counter, *labels: str) -> None:
    with suppress(KeyError):
        counter.remove(*labels)
