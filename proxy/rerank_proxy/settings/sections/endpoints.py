"""The sections about inference endpoints: preconfigured ones, those that clients create, and remote
services."""

from pathlib import Path
from typing import Any, Literal

from pydantic import ByteSize, Field, model_validator

from rerank_proxy.settings.values import (
    BaseUrls,
    Count,
    Counts,
    IndexName,
    Reloaded,
    Seconds,
    Secret,
    SecretKey,
    Section,
    Words,
)


class EndpointSettings(Section):
    model: str | None = Field(
        None,
        description="Name of a model under `models`; nothing else is needed for an endpoint of the service "
        "`elasticsearch`.",
        min_length=1,
    )
    service: str = Field(
        "elasticsearch", description="The service of the endpoint, as in `PUT _inference`.", min_length=1
    )
    service_settings: dict[str, Any] = Field(
        default_factory=dict,
        repr=False,
        description="The `service_settings` of `PUT _inference`. A secret such as `api_key` may be `{env: "
        "NAME}` or `{file: PATH}`, or be in the file that `api_key_file` names.",
    )
    task_settings: dict[str, Any] = Field(
        default_factory=dict, description="The `task_settings` of `PUT _inference`."
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
        description="Keep new and changed inference endpoints without trying them, like Elasticsearch's "
        "`xpack.inference.skip_validate_and_start`.",
    )
    max_endpoints: Reloaded[Count] = Field(
        1000,
        description="The most inference endpoints that clients may have in the registry; a further one is "
        "answered 400.",
    )
    max_writes_per_minute: Reloaded[int] = Field(
        120,
        ge=0,
        description="How often clients may create, change or delete inference endpoints in a minute, each of "
        "them half as often; beyond it they are answered 429. 0: as often as they like.",
    )


class RegistrySettings(Section):
    store: Literal["file", "index", "none"] = Field(
        "file",
        description="Where endpoints that clients create are kept. `file`: in `state_dir`, for one proxy; "
        "`index`: in upstream, for all proxies in front of it; `none`: clients cannot create any.",
    )
    index: IndexName = Field(
        "rerank-proxy-endpoints", description="The index for `index`, created on first use."
    )
    username: str | None = Field(
        None, description="The proxy's account in upstream, for `index`; needs `password`.", min_length=1
    )
    password: Secret | None = Field(None, description="The password of `username`.")
    api_key: Secret | None = Field(
        None,
        description="The proxy's API key in upstream, for `index`, encoded as Elasticsearch returns it; "
        "replaces `username`.",
    )
    key: SecretKey | None = Field(
        None,
        description="The key that encrypts the secrets of endpoints: 32 random bytes in base64. Proxies "
        "that share a registry need the same key. Without `key` and `key_file`, `file` makes a key in "
        "`state_dir`, and with `index` endpoints that have secrets cannot be created.",
    )
    key_file: Path | None = Field(
        None,
        description="A file with such a key, in place of `key`. Further keys, one a line, are only used "
        "for decryption, so that a key can be replaced.",
    )
    refresh_s: Seconds = Field(2.0, description="Seconds between two checks for changes by other processes.")

    @model_validator(mode="after")
    def _one_of_each(self) -> "RegistrySettings":
        if self.key is not None and self.key_file is not None:
            raise ValueError("give either `key` or `key_file`")
        if self.api_key is not None and self.username is not None:
            raise ValueError("give either `username` and `password`, or an `api_key`")
        if (self.username is None) != (self.password is None):
            raise ValueError("`username` and `password` go together")
        return self


class RemoteSettings(Section):
    allowed_hosts: Words = Field(
        ("vendors",),
        description="Hosts that remote endpoints may call. `vendors` stands for the vendor's hosts of each "
        "service, `*.example.com` for all hosts below it, `*` for every public one. Private, loopback and "
        "link-local addresses also need `remote.allow_private_addresses`.",
    )
    allow_private_addresses: bool = Field(
        False,
        description="Also call allowed hosts that are, or resolve to, addresses that are not public.",
    )
    base_urls: BaseUrls = Field(
        {},
        description="By service, the URL that replaces its vendor's `https://HOST`, such as that of a "
        "gateway; its host is allowed for that service. URLs in the settings of an endpoint are not "
        "replaced. As text: `cohere=https://gateway/cohere,jinaai=…`.",
    )
    max_documents: Counts = Field(
        {},
        description="By service, the most texts in one call, if that differs from the vendor's usual "
        "limit; more texts are split over several calls. As text: `hugging_face=64`.",
    )
    max_answer: ByteSize = Field(
        ByteSize(64 * 1024 * 1024),
        description="The largest answer to a call that is accepted, however many texts it is about. For "
        "few short texts the limit is lower: 64 KiB, 16 KiB for each text, and six times the call's body.",
    )
    parallel_calls: Count = Field(
        4, description="The most calls at a time for one search whose texts are split."
    )
    rate_limit_queue: int = Field(
        1000,
        ge=0,
        description="The most calls that may wait for the `rate_limit` of one account and model; beyond it "
        "they are answered 429. Callers take turns, and one has at most half of the places if others wait.",
    )
    connect_timeout_s: Seconds = Field(10.0, description="Seconds to wait for a connection.")
    retry_initial_s: Seconds = Field(
        1.0,
        description="Seconds before the first retry after a 429, a 5xx or a failure to connect; they "
        "double with each retry. A call that was sent and not answered is not repeated: it may have been "
        "charged for.",
    )
    retry_max_s: Seconds = Field(
        5.0,
        description="The longest wait between two attempts, unless the service asks for more by "
        "`Retry-After`.",
    )
    retry_total_s: float = Field(
        30.0, ge=0, description="Seconds after which a call is not retried. 0: it is never retried."
    )
    breaker_failures: Count = Field(
        5,
        description="Consecutive failures of an endpoint (5xx, no connection, no answer in time) after "
        "which its circuit breaker opens: calls then fail without being sent.",
    )
    breaker_pause_s: Seconds = Field(
        30.0, description="Seconds that the circuit stays open before a call is let through as a trial."
    )
