"""The panels of the dashboard, by rows: what is asked of Prometheus, and what it says."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal

SELECTED: Final = 'job=~"$job",instance=~"$instance"'
RATE: Final = "$__rate_interval"

Kind = Literal["timeseries", "stat", "table", "state-timeline"]


@dataclass(frozen=True)
class Panel:
    """A panel.

    Attributes:
        unit: Of its values, by Grafana's names.
        queries: Expressions, each with what its series are called.
        fill: Its series are stacked.
        thresholds: Values from which on it is shown in orange, and in red.
        names: Texts in place of values.
    """

    title: str
    description: str
    unit: str
    queries: Mapping[str, str]
    width: int = 8
    kind: Kind = "timeseries"
    fill: bool = False
    thresholds: tuple[float, float] | None = None
    names: Mapping[str, tuple[str, str]] = field(default_factory=dict)


def metric(name: str, *matchers: str) -> str:
    """Return the selector of a metric in the processes that are chosen at the top."""
    return f"rerank_proxy_{name}{{{','.join((SELECTED, *matchers))}}}"


def rate(name: str, *matchers: str, by: str = "") -> str:
    """Return the sum of rates of a counter in each second, by labels."""
    grouped = f" by ({by})" if by else ""
    return f"sum{grouped} (rate({metric(name, *matchers)}[{RATE}]))"


def quantile(share: float, name: str, *matchers: str, by: str = "") -> str:
    """Return a quantile of a histogram, by labels."""
    labels = ", ".join(filter(None, ("le", by)))
    return f"histogram_quantile({share}, {rate(f'{name}_bucket', *matchers, by=labels)})"


def quantiles(name: str, *matchers: str) -> dict[str, str]:
    """Return the median and two more quantiles, with their names."""
    return {quantile(share, name, *matchers): f"p{share * 100:g}" for share in (0.5, 0.95, 0.99)}


def share(part: str, whole: str) -> str:
    """Return a share, which is 0 where there is no part."""
    return f"({part} or 0 * {whole}) / {whole}"


def _signs(window: str) -> str:
    """Return by how many standard deviations wins and losses differ from those of a coin (docs/online.md)."""
    by = "sum by (endpoint, against)"
    wins, losses = (
        f"{by} (increase({metric('online_interleavings_total', matcher)}[{window}]))"
        for matcher in ('outcome="win"', 'outcome="loss"')
    )
    lead = f"({wins} - {losses})"
    return f"({lead} - sgn({lead})) / sqrt({wins} + {losses})"


_SCORED: Final = 'outcome=~"applied|interleaved|skipped"'
"""Matches searches that are scored, or would have been."""

UP_OR_DOWN: Final = {"1": ("up", "green"), "0": ("down", "red")}
READY: Final = {"1": ("ready", "green"), "0": ("not ready", "red")}

OVERVIEW: Final = (
    Panel("Ready", "Proxies whose /ready answers 200, and all that are scraped.", "short",
          {f"sum({metric('ready')})": "ready", f"count({metric('ready')})": "all"}, 4, "stat"),
    Panel("Requests", "Requests of clients in each second.", "reqps", {rate("requests_total"): "all"},
          4, "stat"),
    Panel("Errors", "Share of requests that are answered 5xx. The alerts' objective is 0.1 %.", "percentunit",
          {share(rate("requests_total", 'code=~"5.."'), rate("requests_total")): "5xx"}, 4, "stat",
          thresholds=(0.001, 0.01)),
    Panel("Reranked searches, p95", "Time of a whole reranked search: one in twenty takes longer.", "s",
          {quantile(0.95, "request_seconds", 'kind="rerank"'): "p95"}, 4, "stat", thresholds=(2, 5)),
    Panel("First-stage order", "Share of searches that keep their first-stage order because scoring fails.",
          "percentunit", {share(rate("searches_total", 'outcome="skipped"'),
                                rate("searches_total", _SCORED)): "skipped"}, 4, "stat",
          thresholds=(0.01, 0.05)),
    Panel("Nodes down", "Nodes of Elasticsearch that a proxy leaves out.", "short",
          {f"sum(1 - {metric('upstream_node_up')})": "nodes"}, 4, "stat", thresholds=(1, 2)),
)  # fmt: skip

REQUESTS: Final = (
    Panel("Traffic by kind", "plain: forwarded without inspection; search: inspected and forwarded; rerank: "
          "answered here.", "reqps", {rate("requests_total", by="kind"): "{{kind}}"}, fill=True),
    Panel("Traffic by status", "Statuses as clients get them. 499: the client left first.", "reqps",
          {rate("requests_total", by="code"): "{{code}}"}, fill=True),
    Panel("Errors by kind", "Share of requests that are answered 5xx.", "percentunit",
          {share(rate("requests_total", 'code=~"5.."', by="kind"), rate("requests_total", by="kind")):
           "{{kind}}"}),
    Panel("Latency, p50 by kind", "Half of the requests take longer.", "s",
          {quantile(0.5, "request_seconds", by="kind"): "{{kind}}"}),
    Panel("Latency, p95 by kind", "One request in twenty takes longer. Exemplars lead to traces.", "s",
          {quantile(0.95, "request_seconds", by="kind"): "{{kind}}"}),
    Panel("Latency, p99 by kind", "One request in a hundred takes longer.", "s",
          {quantile(0.99, "request_seconds", by="kind"): "{{kind}}"}),
    Panel("Refused for overload", "Requests that are answered 429: a full queue, too many bytes of bodies, "
          "or Elasticsearch itself.", "reqps", {rate("requests_total", 'code="429"', by="kind"): "{{kind}}"}),
    Panel("Connections of clients", "Open connections; the limit is edge.max_connections.", "short",
          {f"sum by (instance) ({metric('client_connections')})": "{{instance}}"}),
    Panel("Buffered bodies", "Bytes of search bodies in memory; the limit is edge.max_buffered.", "bytes",
          {f"sum by (instance) ({metric('buffered_bytes')})": "{{instance}}"}),
    Panel("TLS handshakes that failed", "By port and reason. closed: looks at an open port end so, too.",
          "ops", {rate("tls_handshakes_failed_total", by="of, reason"): "{{of}} {{reason}}"}),
)  # fmt: skip

SEARCHES: Final = (
    Panel("Searches by outcome", "What became of searches that the edge gave to the application.", "reqps",
          {rate("searches_total", by="outcome"): "{{outcome}}"}, fill=True),
    Panel("Rerankers by outcome", "no_text: none of the hits has text in the field that the reranker names.",
          "reqps", {rate("rerankers_total", by="outcome"): "{{outcome}}"}, fill=True),
    Panel("Rerankers by endpoint", "Rerankers of answered searches by endpoint and model.", "reqps",
          {rate("rerankers_total", by="endpoint, model"): "{{endpoint}} ({{model}})"}, fill=True),
    Panel("First-stage order and no text", "Shares of searches whose scoring failed, and of rerankers that "
          "found no text.", "percentunit", {
              share(rate("searches_total", 'outcome="skipped"'),
                    rate("searches_total", _SCORED)): "skipped",
              share(rate("rerankers_total", 'outcome="no_text"'), rate("rerankers_total")): "no_text"}),
    Panel("First-stage order by reason", "Why searches keep their first-stage order.", "reqps",
          {rate("searches_failed_open_total", by="reason"): "{{reason}}"}, fill=True),
    Panel("Out of time", "Searches of which something was not done in time, by the limit that was reached.",
          "reqps", {rate("searches_deadline_total", by="limit"): "{{limit}}"}, fill=True),
    Panel("Time of a search by stage, mean", "Where an answered search spends its time.", "s", {
        f"{rate('search_stage_seconds_sum', by='stage')} / {rate('search_stage_seconds_count', by='stage')}":
        "{{stage}}"}, fill=True),
    Panel("Time of a search by stage, p95", "One search in twenty spends more time in the stage.", "s",
          {quantile(0.95, "search_stage_seconds", by="stage"): "{{stage}}"}),
    Panel("Time of a reranker, p95", "One reranker in twenty waits longer for its scores.", "s",
          {quantile(0.95, "reranker_seconds", by="endpoint, model"): "{{endpoint}} ({{model}})"}),
    Panel("Inference API", "Requests of _inference and _ml/trained_models by outcome.", "reqps",
          {rate("inference_requests_total", by="outcome"): "{{outcome}}"}, fill=True),
    Panel("Endpoints", "Inference endpoints, and proxies that cannot read their registry.", "short", {
        f"sum by (state) ({metric('inference_endpoints')})": "{{state}}",
        f"sum(1 - {metric('registry_readable')})": "registries not readable"}),
    Panel("Asynchronous searches", "Those that are kept: the limit is async_search.max_searches.", "short",
          {f"sum by (state) ({metric('async_searches')})": "{{state}}"}, fill=True),
    Panel("Asynchronous answers", "Bytes that are kept; the limit is async_search.max_bytes.", "bytes",
          {f"sum by (instance) ({metric('async_search_bytes')})": "{{instance}}"}),
)  # fmt: skip

ONLINE: Final = (
    Panel("MRR before and after", "Reciprocal rank of the best clicked document in the first stage's order "
          "and in the reranker's, by the part that searches took.", "short", {
              f"{rate('online_reciprocal_ranks_total', by='order, mode')} / on (mode) group_left () "
              f"{rate('online_clicked_searches_total', by='mode')}": "{{order}} ({{mode}})"}),
    Panel("Interleaved searches", "Wins and losses of endpoints in a week, by what they are compared with.",
          "short", {
              f"sum by (outcome, endpoint, against) (increase({metric('online_interleavings_total')}[7d]))":
              "{{endpoint}} against {{against}}: {{outcome}}"}),
    Panel("Sign test", "Standard deviations by which the wins of a week differ from a coin's. Beyond 1.96, "
          "in either direction, chance alone would do that less than one time in twenty.", "short", {
              _signs("7d"): "{{endpoint}} against {{against}}"}),
    Panel("Searches by part", "What searches with a reranker take part in.", "reqps",
          {rate("online_searches_total", by="mode"): "{{mode}}"}, fill=True),
    Panel("Clicks by outcome", "late: online.keep_s or the memory is too small; elsewhere: told to another "
          "proxy.", "ops", {rate("online_clicks_total", by="outcome"): "{{outcome}}"}, fill=True),
    Panel("Scorings in the shadow", "left_out: online.shadow_at_once of them are under way.", "ops",
          {rate("online_shadow_scorings_total", by="outcome"): "{{outcome}}"}, fill=True),
    Panel("Remembered searches", "Those whose clicks are counted; the limit is online.max_searches.", "short",
          {f"sum by (instance) ({metric('online_remembered_searches')})": "{{instance}}"}),
    Panel("Size of what is remembered", "The limit is online.max_bytes.", "bytes",
          {f"sum by (instance) ({metric('online_remembered_bytes')})": "{{instance}}"}),
)  # fmt: skip

ENGINE: Final = (
    Panel("Queue, tokens", "Tokens that wait for the device; the limit of all models is engine.queue_tokens.",
          "short", {f"sum by (model) ({metric('engine_queued_tokens')})": "{{model}}"}, fill=True),
    Panel("Queue, pairs", "Pairs of query and text that wait for the device.", "short",
          {f"sum by (model) ({metric('engine_queued_pairs')})": "{{model}}"}, fill=True),
    Panel("Queue, p95", "One call in twenty waits longer while none of its texts runs.", "s",
          {quantile(0.95, "engine_queue_seconds", by="model"): "{{model}}"}),
    Panel("Refused calls", "Calls that are refused: full queue, too long texts, or too late.", "reqps",
          {rate("engine_rejected_total", by="model"): "{{model}}"}),
    Panel("Pairs scored", "Pairs that models score in each second.", "ops",
          {rate("engine_pairs_scored_total", by="model"): "{{model}}"}, fill=True),
    Panel("Batch, p95", "Time that one batch runs.", "s",
          {quantile(0.95, "engine_batch_seconds", by="model"): "{{model}}"}),
    Panel("Tokenising, p95", "Time to tokenise the texts of one call.", "s",
          {quantile(0.95, "engine_tokenize_seconds", by="model"): "{{model}}"}),
    Panel("Padding", "Share of the tokens in batches that is padding.", "percentunit",
          {f"{rate('engine_padding_tokens_total', by='model')}"
           f" / ({rate('engine_padding_tokens_total', by='model')}"
           f" + {rate('engine_batch_tokens_total', by='model')})": "{{model}}"}),
    Panel("Cut texts", "Share of scored pairs that were cut to the limit of the model.", "percentunit",
          {share(rate("engine_pairs_truncated_total", by="model"),
                 rate("engine_pairs_scored_total", by="model")):
           "{{model}}"}),
    Panel("Workers", "Workers that run batches, and failures of batches and workers in an hour.", "short", {
        f"sum({metric('engine_workers')})": "workers",
        f"sum(increase({metric('engine_failed_batches_total')}[1h]))": "failed batches in 1 h",
        f"sum(increase({metric('engine_lost_workers_total')}[1h]))": "lost workers in 1 h"}),
)  # fmt: skip

CACHE: Final = (
    Panel("Cache hits", "Share of texts whose score was in the cache of the process.", "percentunit",
          {f"{rate('engine_cache_hits_total', by='model')} / ({rate('engine_cache_hits_total', by='model')}"
           f" + {rate('engine_cache_misses_total', by='model')})": "{{model}}"}),
    Panel("Size of the cache", "Bytes of the cache; the limit is engine.cache_bytes.", "bytes",
          {f"sum by (instance) ({metric('engine_cache_bytes')})": "{{instance}}"}),
    Panel("Entries of the cache", "Outputs in the cache, and those that made room for others in an hour.",
          "short", {f"sum({metric('engine_cache_entries')})": "entries",
                    f"sum(increase({metric('engine_cache_evictions_total')}[1h]))": "evicted in 1 h"}),
    Panel("Shared cache hits", "Share of lookups in the shared cache that were found in time.", "percentunit",
          {f"{rate('engine_shared_cache_hits_total', by='model')}"
           f" / ({rate('engine_shared_cache_hits_total', by='model')}"
           f" + {rate('engine_shared_cache_misses_total', by='model')})": "{{model}}"}),
    Panel("Shared cache errors", "What goes wrong with the shared cache, and outputs that were not written.",
          "ops", {rate("engine_shared_cache_errors_total", by="reason"): "{{reason}}",
                  rate("engine_shared_cache_dropped_total"): "not written"}),
)  # fmt: skip

MODELS: Final = (
    Panel("Models", "Whether each model can score. One that is not preloaded is loaded by the next search.",
          "short",
          {f"min by (instance, model) ({metric('engine_model_ready')})": "{{model}} at {{instance}}"},
          12, "state-timeline", names={"1": ("ready", "green"), "0": ("not loaded", "orange")}),
    Panel("Models that cannot be loaded", "1 for a model that could not be loaded.", "short",
          {f"max by (instance, model) ({metric('engine_model_load_failed')})":
           "{{model}} at {{instance}}"},
          12, "state-timeline", names={"1": ("failed", "red"), "0": ("", "green")}),
    Panel("Memory of weights", "Bytes that the weights take; the limit of all is engine.model_memory.",
          "bytes",
          {f"sum by (instance, model) ({metric('engine_model_memory_bytes')})": "{{model}} at {{instance}}"},
          fill=True),
    Panel("Time of loading", "How long loading took the last time.", "s",
          {f"max by (model) ({metric('engine_model_load_seconds')})": "{{model}}"}),
    Panel("What is loaded", "Architecture, device and precision of each model.", "short",
          {f"max by (model, kind, architecture, device, precision) ({metric('engine_model_info')})": ""},
          kind="table"),
)  # fmt: skip

REMOTE: Final = (
    Panel("Calls by outcome", "Calls of vendors' services.", "reqps",
          {rate("remote_calls_total", by="service, outcome"): "{{service}} {{outcome}}"}, 6, fill=True),
    Panel("Time of a call, p95", "One call in twenty takes longer.", "s",
          {quantile(0.95, "remote_seconds", by="service"): "{{service}}"}, 6),
    Panel("Calls sent again", "Calls that were retried after a 429, a 5xx or no connection, or sent again "
          "because a connection was closed.", "reqps", {
              rate("remote_retries_total", by="service"): "{{service}} retried",
              rate("remote_resent_total", by="service"): "{{service}} sent again"}, 6),
    Panel("Open circuits", "Endpoints whose calls are paused because they kept failing.", "short",
          {f"sum by (service) ({metric('remote_paused_endpoints')})": "{{service}}"}, 6, thresholds=(1, 2)),
    Panel("Spans", "Spans for the collector of traces. Those that failed or were dropped are lost.", "ops",
          {rate("spans_total", by="outcome"): "{{outcome}}"}, 6, fill=True),
)  # fmt: skip

ELASTICSEARCH: Final = (
    Panel("Nodes", "Whether each node is used. One that cannot be connected to, or hangs, is left out.",
          "short",
          {f"min by (instance, node) ({metric('upstream_node_up')})": "{{node}} by {{instance}}"}, 12,
          "state-timeline", names=UP_OR_DOWN),
    Panel("Requests under way by node", "One node with far more than the others is slow.", "short",
          {f"sum by (node) ({metric('upstream_node_requests')})": "{{node}}"}, 12),
    Panel("Time to the first byte", "From sending a request to the first byte of its answer.", "s",
          quantiles("upstream_first_byte_seconds"), 6),
    Panel("Connections", "Open connections to Elasticsearch.", "short",
          {f"sum by (state) ({metric('upstream_connections')})": "{{state}}"}, 6, fill=True),
    Panel("Faults of nodes", "Attempts to connect that failed, and how often nodes were left out.", "ops", {
        rate("upstream_node_connect_failures_total", by="node"): "{{node}} not connected",
        rate("upstream_node_left_out_total", by="node"): "{{node}} left out"}, 6),
    Panel("Requests sent again", "Requests that only read, whose connection closed before an answer came.",
          "reqps", {rate("upstream_retries_total"): "of clients",
                    rate("search_upstream_retries_total"): "inner searches"}, 6),
)  # fmt: skip

PROCESSES: Final = (
    Panel("Readiness", "What /ready of each proxy answers.", "short",
          {f"min by (instance) ({metric('ready')})": "{{instance}}"}, 12, "state-timeline", names=READY),
    Panel("Versions", "The versions of the proxy, of Python and of libraries.", "short",
          {f"max by (instance, version, python, torch, transformers) ({metric('build_info')})": ""},
          12, "table"),
    Panel("Processor time", "Cores that each process uses. One that serves clients has one thread: near 1 it "
          "is saturated, and edge.processes should be raised.", "short",
          {rate("process_cpu_seconds_total", by="instance, process"): "{{process}} of {{instance}}"}),
    Panel("Memory", "Memory that each process has in use.", "bytes",
          {f"sum by (instance, process) ({metric('process_resident_memory_bytes')})":
           "{{process}} of {{instance}}"}),
    Panel("Open files", "Share of the limit of open files and sockets.", "percentunit",
          {f"{metric('process_open_fds')} / {metric('process_max_fds')}": "{{process}} of {{instance}}"},
          thresholds=(0.8, 0.95)),
    Panel("Event loop, p99", "By how much a timer of the event loop was late, one time in a hundred.", "s",
          {quantile(0.99, "event_loop_lag_seconds", by="instance, process"): "{{process}} of {{instance}}"}),
    Panel("Garbage collections", "Runs of Python's garbage collector over all objects.", "ops",
          {rate("process_gc_collections_total", 'generation="2"', by="instance, process"):
           "{{process}} of {{instance}}"}),
    Panel("Threads", "Threads of each process.", "short",
          {f"sum by (instance, process) ({metric('process_threads')})": "{{process}} of {{instance}}"}),
    Panel("Restarts in an hour", "Processes that ended and were started again.", "short", {
        f"sum by (instance) (increase({metric('app_restarts_total')}[1h]))": "app of {{instance}}",
        f"sum by (instance) (increase({metric('edge_restarts_total')}[1h]))": "edge of {{instance}}"}),
    Panel("Running since", "Time since each process was started.", "s",
          {f"time() - {metric('process_start_time_seconds')}": "{{process}} of {{instance}}"}),
    Panel("Certificates", "Time until the certificates that the proxy shows end.", "s",
          {f"min by (instance, of) ({metric('certificate_not_after_seconds')}) - time()":
           "{{of}} of {{instance}}"}),
    Panel("Lost lines of the log", "Lines that could not be written: a full disk, or no reader.",
          "ops",
          {rate("log_lines_lost_total", by="instance, process"): "{{process}} of {{instance}}"}),
)  # fmt: skip

ROWS: Final[Mapping[str, Sequence[Panel]]] = {
    "Overview": OVERVIEW,
    "Requests of clients": REQUESTS,
    "Searches": SEARCHES,
    "Online": ONLINE,
    "Engine": ENGINE,
    "Cache": CACHE,
    "Models": MODELS,
    "Remote services": REMOTE,
    "Elasticsearch": ELASTICSEARCH,
    "Processes": PROCESSES,
}
