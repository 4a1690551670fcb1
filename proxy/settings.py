"""The one table of settings.

Every setting is a field below. The YAML file, the environment (``RERANK_PROXY_…``), the command line and
``docs/settings.md`` are all derived from it. Precedence: command line, environment, file, default.
"""

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin
from urllib.parse import urlsplit

import msgspec
import yaml
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ByteSize,
    ConfigDict,
    Field,
    PlainSerializer,
    SecretStr,
    SerializationInfo,
    ValidationError,
    model_validator,
)
from pydantic_core import PydanticCustomError

ENV_PREFIX = "RERANK_PROXY_"
ENV_DELIMITER = "__"
CONFIG_VARIABLE = ENV_PREFIX + "CONFIG"
"""Where the command line finds the file, when no option names it."""

_KUBERNETES_SERVICE = re.compile(
    ENV_PREFIX + r"([A-Z0-9]+_)*?(SERVICE_HOST=|SERVICE_PORT(_[A-Z0-9_]+)?=|PORT=(tcp|udp|sctp)://"
    r"|PORT_[0-9]+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?=)"
)
"""What Kubernetes sets in every pod beside a Service named `rerank-proxy` or `rerank-proxy-…`: no settings of
ours."""


class InvalidSettingsError(Exception):
    """A setting is unknown, has a bad value, or cannot be read. The message is one line and names the key."""


@dataclass(frozen=True, slots=True)
class Address:
    """A TCP address to listen on. ``port`` 0 asks the system for a free one."""

    host: str
    port: int

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


def _parse_address(value: object) -> Address:
    if isinstance(value, Address):
        return value
    match = re.fullmatch(r"(?:\[([0-9a-fA-F:.]+)\]|([^:\[\]\s]*)):(\d{1,5})", str(value))
    if match is None or int(match[3]) > 65535:
        raise ValueError("expected HOST:PORT, for example 127.0.0.1:9201")
    return Address(match[1] or match[2] or "0.0.0.0", int(match[3]))


_SECRET = "secret"
"""Marks an error whose value must not be shown."""


def _check_upstream_url(value: str) -> str:
    parts = urlsplit(value)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("expected http://HOST:PORT or https://HOST:PORT")
    _ = parts.port  # a ValueError in its own words when it is none
    if parts.username or parts.password:
        reason = "must not hold credentials: every request carries its caller's own"
        raise PydanticCustomError(_SECRET, reason)
    if parts.path not in ("", "/") or parts.query or parts.fragment:
        raise ValueError("must not hold a path: requests keep the path that the client sent")
    return f"{parts.scheme}://{parts.netloc}"


_KEY = re.compile(r"[A-Za-z0-9+/_-]{43}=?")
"""32 bytes in base64, in either alphabet."""
_REVEAL = "reveal"


def _check_not_empty(value: SecretStr) -> SecretStr:
    if not value.get_secret_value():
        raise PydanticCustomError(_SECRET, "must not be empty")
    return value


def _check_key(value: SecretStr) -> SecretStr:
    if not _KEY.fullmatch(value.get_secret_value()):
        reason = "expected 32 random bytes in base64, as `openssl rand -base64 32` prints them"
        raise PydanticCustomError(_SECRET, reason)
    return value


def _dump_secret(value: SecretStr, info: SerializationInfo) -> str:
    revealed = info.context is not None and info.context.get(_REVEAL, False)
    return value.get_secret_value() if revealed else str(value)


def _check_source(value: str) -> str:
    if "://" not in value:
        return value
    parts = urlsplit(value)
    if parts.scheme not in ("http", "https", "file"):
        raise ValueError("expected a directory, a hub id, or a URL with https://, http:// or file://")
    if parts.username or parts.password or parts.query or parts.fragment:
        # What it is loaded from is told to everyone who may see the status.
        raise PydanticCustomError(
            _SECRET, "must be an address alone: repositories are read without credentials"
        )
    return value


SHORT_FORMS = {"admin": "listen", "upstream": "url"}
"""Sections that may be given by their most important key alone."""


def _expand(key: str) -> BeforeValidator:
    """Let a section be given by one key alone: ``upstream: URL`` for ``upstream: {url: URL}``."""
    return BeforeValidator(lambda value: {key: value} if isinstance(value, str) else value)


ListenAddress = Annotated[Address, BeforeValidator(_parse_address), PlainSerializer(str)]
Seconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Count = Annotated[int, Field(gt=0)]
HttpUrl = Annotated[str, AfterValidator(_check_upstream_url)]
Secret = Annotated[SecretStr, AfterValidator(_check_not_empty), PlainSerializer(_dump_secret)]
"""Shown nowhere: neither in a repr, nor in a dump, nor in an error."""
SecretKey = Annotated[Secret, AfterValidator(_check_key)]


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, arbitrary_types_allowed=True)


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
        description="Bytes of search bodies held at once over all connections; beyond it searches get a 429.",
    )
    max_head: ByteSize = Field(
        ByteSize(64 * 1024),
        description="Largest request line plus headers. Elasticsearch refuses more than 16 KiB by itself.",
    )
    max_connections: Count = Field(10_000, description="Client connections at once; further ones wait.")


class EngineSettings(Section):
    device: str = Field(
        "auto",
        description="`cpu`, `cuda`, `cuda:1` …; `auto` takes a GPU when there is one.",
        pattern=r"^\S+$",
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
    cache_entries: int = Field(
        100_000, ge=0, description="Scores remembered, by model, query and text. 0: none."
    )
    idle_unload_s: Seconds = Field(
        900.0,
        description="Seconds without calls after which a model that nothing keeps loaded is unloaded.",
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
    source: Annotated[str, AfterValidator(_check_source)] = Field(
        description="A directory, the id of a model on the Hugging Face hub, or the URL (`https`, `http`, "
        "`file`) of a repository of Elasticsearch's model packages.",
        min_length=1,
    )
    revision: str | None = Field(None, description="Branch, tag or commit of a hub id.")
    package: str | None = Field(
        None,
        pattern=r"^[\w.-]+$",
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
        description="Seconds that a reranked search may take altogether: its inner searches and its scores. "
        "A request's own `timeout`, where it is shorter, bounds the scores.",
    )
    allow_rerank_failures: bool = Field(
        False,
        description="Whether hits keep their first-stage order when reranking fails and the retriever does "
        "not say `allow_rerank_failures` itself; else such a search fails, as native's does.",
    )
    evaluate_unknown_retrievers: bool = Field(
        True,
        description="Whether `rrf`, `linear` and `pinned` without a reranker are evaluated here too when "
        "upstream does not know them.",
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
    max_uploads: Count = Field(4, description="Models that may be on their way at once.")
    upload_timeout_s: Seconds = Field(
        600.0, description="Seconds without a further part after which an upload is given up and removed."
    )


class RegistrySettings(Section):
    store: Literal["file", "index", "none"] = Field(
        "file",
        description="Where endpoints that clients create are kept. `file`: in `state_dir`, for one proxy; "
        "`index`: in upstream, for all proxies in front of it; `none`: there are those of `endpoints` only.",
    )
    index: str = Field(
        "rerank-proxy-endpoints",
        description="The index for `index`; made on first use.",
        pattern=r"^[a-z0-9.][a-z0-9._-]{0,254}$",
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


def _words(value: object) -> object:
    """A list, also as one text with commas."""
    return [word.strip() for word in value.split(",") if word.strip()] if isinstance(value, str) else value


def _pairs(value: object) -> object:
    """A mapping, also as one text: JSON, or `NAME=VALUE` with commas."""
    if not isinstance(value, str):
        return value
    if value.lstrip().startswith("{"):
        try:
            return msgspec.json.decode(value)
        except msgspec.DecodeError as error:
            raise ValueError(f"is not valid JSON: {error}") from None
    pairs = [word.strip().partition("=") for word in value.split(",") if word.strip()]
    if not all(name and separator for name, separator, _ in pairs):
        raise ValueError("expected NAME=VALUE, or several with commas")
    return {name: text for name, _, text in pairs}


def _check_base_url(value: str) -> str:
    parts = urlsplit(value)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("expected http://HOST:PORT or https://HOST:PORT, with or without a path")
    _ = parts.port
    if parts.username or parts.password:
        raise PydanticCustomError(_SECRET, "must not hold credentials: they belong to the endpoint's secrets")
    if parts.query or parts.fragment:
        raise ValueError("must not hold a query: the service's own path is appended")
    return value.rstrip("/")


Words = Annotated[tuple[str, ...], BeforeValidator(_words)]
BaseUrls = Annotated[dict[str, Annotated[str, AfterValidator(_check_base_url)]], BeforeValidator(_pairs)]
Counts = Annotated[dict[str, Count], BeforeValidator(_pairs)]


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
        ByteSize(64 * 1024 * 1024), description="Largest answer of one call that is accepted."
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
        description="Seconds before the first retry after a 429, a 5xx or a broken connection; then "
        "doubling.",
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
    admin: Annotated[AdminSettings, _expand(SHORT_FORMS["admin"])] = Field(
        AdminSettings(), description="Probes and metrics, on a port of their own."
    )
    upstream: Annotated[UpstreamSettings, _expand(SHORT_FORMS["upstream"])] = Field(
        UpstreamSettings(), description="The Elasticsearch behind the proxy."
    )
    models: dict[str, Annotated[ModelSettings, _expand("source")]] = Field(
        default_factory=_absent_models, description="Models on this machine, by a name of your choice."
    )
    endpoints: dict[str, Annotated[EndpointSettings, _expand("model")]] = Field(
        default_factory=_absent_endpoints,
        description="Which model serves which `inference_id`. A search that names none uses "
        "`.rerank-v1-elasticsearch`.",
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
        return self.model_dump_json(context={_REVEAL: True})

    @model_validator(mode="after")
    def _endpoints_name_models(self) -> "Settings":
        for endpoint_id, endpoint in self.endpoints.items():
            if endpoint.model is not None and endpoint.model not in self.models:
                known = ", ".join(sorted(self.models)) or "none is configured"
                raise ValueError(
                    f"endpoints.{endpoint_id}.model: no model [{endpoint.model}] under models ({known})"
                )
        return self


def load(
    config: Path | None = None,
    overrides: Mapping[str, Any] | None = None,
    environ: Mapping[str, str] | None = None,
) -> Settings:
    """Read the settings from a YAML file, the environment and `overrides` (the command line).

    A later source is stronger.

    Raises:
        InvalidSettingsError: one line that names the key and what to do.
    """
    environ = os.environ if environ is None else environ
    from_file = _read_yaml(config) if config else {}
    merged = _merge(_merge(from_file, _read_environment(environ)), overrides or {})
    try:
        return Settings(**merged)
    except ValidationError as error:
        raise InvalidSettingsError(_describe(error, from_file, config)) from None


def _read_yaml(path: Path) -> dict[str, Any]:
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InvalidSettingsError(f"{path}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise InvalidSettingsError(f"{path}: is not UTF-8 text") from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"{path}:{mark.line + 1}:{mark.column + 1}" if mark else str(path)
        problem = getattr(error, "problem", None) or "cannot be parsed"
        raise InvalidSettingsError(f"{where}: is not valid YAML: {problem}") from None
    if values is None:
        return {}
    if not isinstance(values, dict) or not all(isinstance(key, str) for key in values):
        raise InvalidSettingsError(
            f"{path}: expected a mapping of settings, such as `listen: 127.0.0.1:9201`"
        )
    return values


def _read_environment(environ: Mapping[str, str]) -> dict[str, Any]:
    """Values of `RERANK_PROXY_SECTION__KEY`; a mapping such as `models` is given as JSON."""
    values: dict[str, Any] = {}
    for name, text in sorted(environ.items()):
        if not name.startswith(ENV_PREFIX) or name == CONFIG_VARIABLE:
            continue
        if _KUBERNETES_SERVICE.match(f"{name}={text}"):
            continue
        path = name.removeprefix(ENV_PREFIX).lower().split(ENV_DELIMITER)
        target = values
        for key in path[:-1]:
            target = target.setdefault(key, {})
            if not isinstance(target, dict):
                raise InvalidSettingsError(
                    f"{name}: its section is already given as a whole by the environment"
                )
        target[path[-1]] = _from_environment(name, path, text)
    return values


def _from_environment(name: str, path: list[str], text: str) -> Any:
    if len(path) > 1 or not text.lstrip().startswith("{"):
        return text
    try:
        return msgspec.json.decode(text)
    except msgspec.DecodeError as error:
        raise InvalidSettingsError(f"{name}: is not valid JSON: {error}") from None


def _merge(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in over.items():
        below = merged.get(key)
        if isinstance(value, Mapping) and isinstance(below, Mapping):
            merged[key] = _merge(below, value)
        elif isinstance(value, Mapping) and isinstance(below, str) and key in SHORT_FORMS:
            merged[key] = _merge({SHORT_FORMS[key]: below}, value)
        elif isinstance(value, str) and isinstance(below, Mapping) and key in SHORT_FORMS:
            merged[key] = {**below, SHORT_FORMS[key]: value}
        else:
            merged[key] = value
    return merged


def _describe(error: ValidationError, from_file: Mapping[str, Any], config: Path | None) -> str:
    """The first problem of a failed validation in one line: the key, what is wrong, what is meant."""
    problem = error.errors()[0]
    location = [str(part) for part in problem["loc"]]
    in_file = config is not None and (not location or location[0] in from_file)
    key = ".".join(location)
    if problem["type"] == "extra_forbidden":
        known = _known_keys(location[:-1])
        close = get_close_matches(location[-1], known, n=1)
        hint = f", did you mean [{close[0]}]?" if close else f"; known: {', '.join(sorted(known))}"
        message = f"unknown setting [{key}]{hint}"
    elif problem["type"] == "missing":
        message = f"[{key}] is required"
    else:
        text = problem["msg"].removeprefix("Value error, ")
        message = f"[{key}]: {text}" if key else text
        value = problem["input"]
        secret = problem["type"] == _SECRET or _is_secret(location)
        if key and not secret and isinstance(value, str | int | float):
            message += f", not [{value}]"
    return f"{config}: {message}" if in_file else message


def _known_keys(path: list[str]) -> list[str]:
    return list(_model_at(path).model_fields)


def _is_secret(path: list[str]) -> bool:
    field = _model_at(path[:-1]).model_fields.get(path[-1]) if path else None
    return field is not None and _holds_secret(field.annotation)


def _holds_secret(annotation: Any) -> bool:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return any(_holds_secret(field.annotation) for field in annotation.model_fields.values())
    return annotation is SecretStr or any(map(_holds_secret, get_args(annotation)))


def _model_at(path: list[str]) -> type[BaseModel]:
    model: type[BaseModel] = Settings
    for key in path:
        field = model.model_fields.get(key)
        inner = _section_of(field.annotation) if field else None
        if inner is not None:
            model = inner
        # A key that is no field is the name of an entry in a mapping: stay with the mapping's value type.
    return model


def _section_of(annotation: Any) -> type[BaseModel] | None:
    """The `Section` inside a field's annotation, also as the value type of a mapping."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    for argument in reversed(get_args(annotation)):
        if (inner := _section_of(argument)) is not None:
            return inner
    return None


@dataclass(frozen=True, slots=True)
class Setting:
    """One row of the table: a leaf setting and where it can be given."""

    path: tuple[str, ...]
    description: str
    default: Any
    required: bool
    per_entry: bool
    """True below `models` and `endpoints`: the second part of the path is a name of the user's choice."""
    secret: bool = False
    """True for what is shown nowhere. It has no option, since any user can read command lines."""

    @property
    def key(self) -> str:
        return ".".join(self.path)

    @property
    def default_text(self) -> str:
        """The default as one would write it in the file."""
        if isinstance(self.default, ByteSize):
            return self.default.human_readable().replace(".0", "")
        if isinstance(self.default, bool):
            return str(self.default).lower()
        if isinstance(self.default, tuple):
            return ",".join(self.default)
        return str(self.default)

    @property
    def environment(self) -> str | None:
        return None if self.per_entry else ENV_PREFIX + ENV_DELIMITER.join(self.path).upper()

    @property
    def option(self) -> str | None:
        if self.per_entry or self.secret:
            return None
        short = len(self.path) == 2 and SHORT_FORMS.get(self.path[0]) == self.path[1]
        return "--" + "-".join(self.path[:1] if short else self.path).replace("_", "-")


def table() -> Iterator[Setting]:
    """Every leaf setting in the order of this file."""
    yield from _rows(Settings, (), False)


def _rows(model: type[BaseModel], path: tuple[str, ...], per_entry: bool) -> Iterator[Setting]:
    for name, field in model.model_fields.items():
        section = _section_of(field.annotation)
        if section is None:
            default = None if field.is_required() else field.get_default(call_default_factory=True)
            yield Setting(
                (*path, name),
                field.description or "",
                default,
                field.is_required(),
                per_entry,
                _holds_secret(field.annotation),
            )
        elif get_origin(field.annotation) is dict:
            yield from _rows(section, (*path, name, "NAME"), True)
        else:
            yield from _rows(section, (*path, name), per_entry)
