"""The one table of settings: every setting is a field below."""

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ByteSize, ConfigDict, Field, model_validator

from rerank_proxy.settings.values import (
    REVEAL,
    SHORT_FORMS,
    Address,
    BaseUrls,
    Count,
    Counts,
    Device,
    HttpUrl,
    IndexName,
    ListenAddress,
    PackageName,
    Seconds,
    Secret,
    SecretKey,
    Section,
    Words,
    check_source,
    expand,
)


class AdminSettings(Section):
    listen: ListenAddress = Field(
        Address("127.0.0.1", 9202), description="Where `/live`, `/ready` and `/metrics` are served."
    )


class UpstreamSettings(Section):
    url: HttpUrl = Field("http://127.0.0.1:9200", description="The Elasticsearch that requests go to.")
    ca_certs: Path | None = Field(
        None,
        description="PEM file of the certificate authorities to trust for `https`; absent: the system's.",
    )
    verify_certs: bool = Field(True, description="Check upstream's certificate and host name.")
    host_header: Literal["auto", "client", "upstream"] = Field(
        "auto",
        description="The `Host` that upstream sees: the client's, or upstream's own (for virtual hosting). "
        "`auto`: upstream's for `https` URLs with a public name, else the client's.",
    )
    connect_timeout_s: Seconds = Field(10.0, description="Seconds to wait for a connection to upstream.")
    idle_timeout_s: Seconds = Field(
        60.0, description="Seconds after which an unused connection to upstream is closed."
    )
    max_idle_connections: Count = Field(256, description="Unused connections to upstream that are kept open.")


class EdgeSettings(Section):
    max_body: ByteSize = Field(
        ByteSize(100 * 1024 * 1024),
        description="Largest search body that is read to look for a reranker (Elasticsearch's own limit is "
        "100 MiB); a larger one is answered 413. Other bodies are streamed and have no limit here.",
    )
    max_buffered: ByteSize = Field(
        ByteSize(512 * 1024 * 1024),
        description="Bytes of search bodies held at once over all connections, decoded where the application "
        "will decode them; beyond it searches get a 429.",
    )
    max_inflation: Count = Field(
        100,
        description="Decoded bytes that a compressed body for the application may have for each byte sent; "
        "1 MiB is always allowed, more than `max_body` never. A longer one is answered 413.",
    )
    max_head: ByteSize = Field(
        ByteSize(64 * 1024),
        description="Largest request line plus headers. Elasticsearch refuses more than 16 KiB by itself.",
    )
    max_connections: Count = Field(10_000, description="Client connections at once; further ones wait.")


class EngineSettings(Section):
    device: Device = Field(
        "auto", description="`cpu`, `cuda`, `cuda:1` …; `auto` takes a GPU when there is one."
    )
    dtype: Literal["auto", "float32", "float16", "bfloat16"] = Field(
        "auto", description="Arithmetic of the model body. `auto`: float32 on CPU, float16 on GPU."
    )
    threads: int = Field(
        0,
        ge=0,
        description="CPU threads for one batch. 0: as many as this process may use (affinity, cgroup).",
    )
    budget_tokens: int = Field(
        0, ge=0, description="Padded tokens in one batch. 0: 2048 on CPU, 16384 on GPU."
    )
    queue_tokens: Count = Field(
        4_000_000, description="Tokens that may wait for the device; beyond it a search gets a 429."
    )
    queue_bytes: ByteSize = Field(
        ByteSize(256 * 1024 * 1024),
        description="Memory for the texts of all calls that are not done; beyond it a search gets a 429.",
    )
    text_characters: Count = Field(
        250_000,
        description="Characters of a query, and of a text, that are given to a model, from its beginning. "
        "What is cut counts as `truncated` in `X-Rerank`.",
    )
    cache_entries: int = Field(
        100_000, ge=0, description="Scores remembered, by model, query and text. 0: none."
    )
    idle_unload_s: Seconds = Field(
        900.0,
        description="Seconds without calls after which a model that nothing keeps loaded is unloaded.",
    )
    max_batch_s: Seconds = Field(
        120.0,
        description="Seconds after which a batch counts as one that never ends: its model is failed, and the "
        "reranking process is started again. A model whose batches are slow is given up to twenty times as "
        "long as they usually take, but never longer than `max_load_s`. The same holds for tokenising.",
    )
    max_load_s: Seconds = Field(
        1800.0,
        description="Seconds after which the loading of a model, without its download, counts as one that "
        "never ends.",
    )
    artifacts_dir: Path | None = Field(
        None,
        description="Where packages of model repositories are kept. Absent: `rerank-proxy/models` in "
        "`XDG_CACHE_HOME`, or in `~/.cache`.",
    )
    offline: bool = Field(
        False, description="Never reach a model hub or repository: what is needed must be in a local cache."
    )


class ModelSettings(Section):
    source: Annotated[str, AfterValidator(check_source)] = Field(
        description="A directory, the id of a model on the Hugging Face hub, or the URL (`https`, `http`, "
        "`file`) of a repository of Elasticsearch's model packages.",
        min_length=1,
    )
    revision: str | None = Field(None, description="Branch, tag or commit of a hub id.")
    package: PackageName | None = Field(
        None,
        description="The package in a repository, or in a directory that holds packages. Absent: the model's "
        "name without a leading dot, or the only package of the directory.",
    )
    backend: str = Field(
        "auto",
        min_length=1,
        description="What runs it. `auto`: what the proxy has of its own; else the name of a backend that an "
        "installed package brings (entry points `rerank_proxy.backends`).",
    )
    preload: bool = Field(
        True, description="Load it at the start and keep it loaded. `false`: when something needs it."
    )
    max_length: Count | None = Field(
        None, description="Tokens of query, text and special tokens together. Absent: the model's own limit."
    )
    truncation: Literal["balanced", "longest_first", "second"] | None = Field(
        None,
        description="What is cut when a pair is too long. `balanced`: Elasticsearch's rule for Elastic "
        "Rerank; `longest_first`: that of sentence-transformers; `second`: only the text, Eland's choice. "
        "Absent: what a package says, else `balanced`.",
    )
    activation: Literal["identity", "sigmoid"] = Field(
        "identity",
        description="What a cross-encoder's logit goes through. Native Elasticsearch returns the raw logit.",
    )


class EndpointSettings(Section):
    model: str | None = Field(
        None,
        description="Name of a model under `models`: all that an endpoint of the service `elasticsearch` "
        "needs to say.",
        min_length=1,
    )
    service: str = Field(
        "elasticsearch", description="What serves the endpoint, as in `PUT _inference`.", min_length=1
    )
    service_settings: dict[str, Any] = Field(
        default_factory=dict,
        repr=False,
        description="Settings of the service, as in `PUT _inference`. A secret may be `{env: NAME}` or "
        "`{file: PATH}`.",
    )
    task_settings: dict[str, Any] = Field(
        default_factory=dict, description="Settings of its task, as in `PUT _inference`."
    )

    @model_validator(mode="after")
    def _model_or_service_settings(self) -> "EndpointSettings":
        if self.model is None and not self.service_settings:
            raise ValueError("give a `model`, or a `service` with its `service_settings`")
        if self.model is not None and (self.service != "elasticsearch" or self.service_settings):
            raise ValueError("give either a `model`, or a `service` with its `service_settings`")
        return self


class InferenceSettings(Section):
    skip_validate_and_start: bool = Field(
        False,
        description="Whether new and changed inference endpoints are kept without being tried, as with "
        "Elasticsearch's `xpack.inference.skip_validate_and_start`.",
    )


class SearchSettings(Section):
    timeout_s: Seconds = Field(
        30.0, description="Seconds that the reranking of one search may take (native's own limit is 30)."
    )
    deadline_s: Seconds = Field(
        120.0,
        description="Seconds that a reranked search may take altogether: its inner searches and its scores.",
    )
    bound_scores_by_request_timeout: bool = Field(
        False,
        description="Whether a request's own `timeout`, where it is shorter, ends the wait for scores with a "
        "429. Native's never does: it bounds the query phase of the last search, as well as shards can.",
    )
    allow_rerank_failures: bool = Field(
        False,
        description="Whether hits keep their first-stage order when reranking fails and the retriever does "
        "not say `allow_rerank_failures` itself; else such a search fails, as native's does.",
    )
    check_privileges: bool = Field(
        True,
        description="Whether a reranked search needs the privilege `monitor_inference` (or one that includes "
        "it) where upstream has security, as native's does. `false`: what its inner searches need is enough.",
    )
    evaluate_unknown_retrievers: bool = Field(
        True,
        description="Whether `rrf`, `linear` and `pinned` without a reranker are evaluated here too when "
        "upstream does not know them.",
    )
    chunked_characters: Count = Field(
        1_000_000,
        description="Characters of a text, from its beginning, in which chunks are looked for "
        "(`chunk_rescorer`, `long_document_strategy: chunk`). What is cut counts as `truncated` in "
        "`X-Rerank`.",
    )
    max_response: ByteSize = Field(
        ByteSize(512 * 1024 * 1024), description="Largest answer of one inner search that is accepted."
    )


class AsyncSearchSettings(Section):
    max_searches: Count = Field(
        1000,
        description="Asynchronous searches kept at once, running ones included. The oldest finished one "
        "makes room for a new one; when all are running, that gets a 429.",
    )
    max_bytes: ByteSize = Field(
        ByteSize(256 * 1024 * 1024),
        description="Bytes of kept answers at once; beyond it the oldest are dropped.",
    )
    max_keep_alive_s: Seconds = Field(
        5 * 24 * 3600.0,
        description="Longest time that a search is kept; a longer `keep_alive` counts as this. None outlives "
        "the process.",
    )


class TrainedModelsSettings(Section):
    upload: bool = Field(
        False,
        description="Whether clients may upload models (`_ml/trained_models`), as Eland does. Such a model "
        "is a TorchScript program that runs in the proxy: only those who may run code there may upload.",
    )
    max_model_size: ByteSize = Field(
        ByteSize(2 * 1024 * 1024 * 1024), description="Largest program of an uploaded model."
    )
    max_models: Count = Field(32, description="Uploaded models at once, those on their way included.")
    max_total_size: ByteSize = Field(
        ByteSize(16 * 1024 * 1024 * 1024),
        description="Bytes of the programs of all uploaded models together, those on their way included.",
    )
    max_uploads: Count = Field(4, description="Models that may be on their way at once.")
    upload_idle_s: Seconds = Field(
        30.0,
        description="Seconds without a further part after which an upload gives its place to another that "
        "needs one. To a caller who uploads nothing yet, a caller who uploads several gives one at once.",
    )
    upload_timeout_s: Seconds = Field(
        600.0, description="Seconds without a further part after which an upload is given up and removed."
    )


class RegistrySettings(Section):
    store: Literal["file", "index", "none"] = Field(
        "file",
        description="Where endpoints that clients create are kept. `file`: in `state_dir`, for one proxy; "
        "`index`: in upstream, for all proxies in front of it; `none`: there are those of `endpoints` only.",
    )
    index: IndexName = Field(
        "rerank-proxy-endpoints", description="The index for `index`; made on first use."
    )
    username: str | None = Field(
        None, description="The proxy's own account in upstream, for `index`; with `password`.", min_length=1
    )
    password: Secret | None = Field(None, description="The password of `username`.")
    api_key: Secret | None = Field(
        None,
        description="The proxy's own API key in upstream, for `index`, encoded as Elasticsearch gives it; in "
        "place of `username`.",
    )
    key: SecretKey | None = Field(
        None,
        description="What the secrets of endpoints are encrypted with: 32 random bytes in base64. Proxies "
        "that share a registry need the same. Absent, also as a file: with `file` one is made in "
        "`state_dir`; with `index` endpoints that have secrets cannot be created.",
    )
    key_file: Path | None = Field(
        None,
        description="A file with such a key, in place of `key`. Further keys, each on a line of its own, "
        "still decrypt: so a key is replaced.",
    )
    refresh_s: Seconds = Field(
        2.0, description="Seconds between two looks at what other processes have changed."
    )

    @model_validator(mode="after")
    def _one_of_each(self) -> "RegistrySettings":
        if self.key is not None and self.key_file is not None:
            raise ValueError("give either `key` or `key_file`")
        if self.api_key is not None and self.username is not None:
            raise ValueError("give either `username` and `password`, or an `api_key`")
        if (self.username is None) != (self.password is None):
            raise ValueError("`username` and `password` go together")
        return self


class LifecycleSettings(Section):
    drain_delay_s: float = Field(
        0.0,
        ge=0,
        description="Seconds between SIGTERM and closing the listener, with `/ready` saying no: gives a load "
        "balancer time to look away. 0 is right for a sidecar of the client.",
    )
    shutdown_timeout_s: Seconds = Field(
        20.0, description="Seconds that requests under way may take to finish after that."
    )


class RemoteSettings(Section):
    allowed_hosts: Words = Field(
        ("vendors",),
        description="Hosts that remote endpoints may call. `vendors` stands for the hosts of each service's "
        "own vendor, `*.example.com` for all below it, `*` for every public one. Private, loopback and "
        "link-local addresses need `remote.allow_private_addresses` besides.",
    )
    allow_private_addresses: bool = Field(
        False, description="Whether an allowed host may be, or resolve to, an address that is not public."
    )
    base_urls: BaseUrls = Field(
        {},
        description="By service, what stands in place of its vendor's `https://HOST` (a gateway, say); "
        "its host is allowed for that service. An address in an endpoint's own settings stays. In a text: "
        "`cohere=https://gateway/cohere,jinaai=…`.",
    )
    max_documents: Counts = Field(
        {},
        description="By service, the most texts in one call, where that differs from the vendor's usual "
        "limit; more are split over several calls. In a text: `hugging_face=64`.",
    )
    max_answer: ByteSize = Field(
        ByteSize(64 * 1024 * 1024),
        description="Largest answer of one call that is accepted, however many texts it is about. For few "
        "and short texts the limit is lower: 64 KiB, 16 KiB for each text, and six times the call's body.",
    )
    parallel_calls: Count = Field(4, description="Calls at once for one search whose texts are split.")
    rate_limit_queue: int = Field(
        1000,
        ge=0,
        description="Calls that may wait for the `rate_limit` of one account and model; beyond it they "
        "get a 429.",
    )
    connect_timeout_s: Seconds = Field(10.0, description="Seconds to wait for a connection.")
    retry_initial_s: Seconds = Field(
        1.0,
        description="Seconds before the first retry after a 429, a 5xx or a connection that could not be "
        "opened; then doubling. A call that was sent and not answered is not sent again: it may have been "
        "paid for.",
    )
    retry_max_s: Seconds = Field(
        5.0, description="Longest wait between two tries, unless the service asks for more by `Retry-After`."
    )
    retry_total_s: float = Field(
        30.0, ge=0, description="Seconds after which a call is not tried again. 0: it is never tried again."
    )
    breaker_failures: Count = Field(
        5,
        description="Consecutive failures of an endpoint (5xx, no connection, no answer in time) after "
        "which it is given a pause, and fails at once.",
    )
    breaker_pause_s: Seconds = Field(
        30.0, description="Seconds of that pause; then one call is let through to find out."
    )


def _absent_models() -> dict[str, ModelSettings]:
    return {}


def _absent_endpoints() -> dict[str, EndpointSettings]:
    return {}


class Settings(BaseModel):
    """All settings of one proxy. Build it with `load`."""

    model_config = ConfigDict(extra="forbid", frozen=True, arbitrary_types_allowed=True)

    listen: ListenAddress = Field(Address("127.0.0.1", 9201), description="Where clients connect.")
    admin: Annotated[AdminSettings, expand(SHORT_FORMS["admin"])] = Field(
        AdminSettings(), description="Probes and metrics, on a port of their own."
    )
    upstream: Annotated[UpstreamSettings, expand(SHORT_FORMS["upstream"])] = Field(
        UpstreamSettings(), description="The Elasticsearch behind the proxy."
    )
    models: dict[str, Annotated[ModelSettings, expand("source")]] = Field(
        default_factory=_absent_models, description="Models on this machine, by a name of your choice."
    )
    endpoints: dict[str, Annotated[EndpointSettings, expand("model")]] = Field(
        default_factory=_absent_endpoints,
        description="Inference endpoints that no request can change, by `inference_id`. A search that names "
        "none uses `.rerank-v1-elasticsearch`.",
    )
    inference: InferenceSettings = Field(
        InferenceSettings(), description="The `_inference` API, for the task type `rerank`."
    )
    registry: RegistrySettings = Field(
        RegistrySettings(), description="Endpoints that clients create with `PUT _inference`."
    )
    search: SearchSettings = Field(SearchSettings(), description="Reranked searches.")
    remote: RemoteSettings = Field(
        RemoteSettings(), description="Endpoints whose service is another server: Cohere, Jina AI, your own …"
    )
    async_search: AsyncSearchSettings = Field(
        AsyncSearchSettings(), description="`_async_search` with a reranker, which this proxy keeps itself."
    )
    trained_models: TrainedModelsSettings = Field(
        TrainedModelsSettings(), description="Models that clients upload."
    )
    engine: EngineSettings = Field(EngineSettings(), description="Inference on this machine.")
    edge: EdgeSettings = Field(EdgeSettings(), description="The part that relays bytes.")
    lifecycle: LifecycleSettings = Field(LifecycleSettings(), description="Stopping.")
    state_dir: Path | None = Field(
        None,
        description="Directory for what outlives the process, made when it is first needed. Absent: "
        "`rerank-proxy` in `$XDG_STATE_HOME`, or in `~/.local/state`.",
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="How much is written to standard error."
    )

    def dump_with_secrets(self) -> str:
        """JSON for another process of the proxy; an ordinary dump hides the secrets."""
        return self.model_dump_json(context={REVEAL: True})
