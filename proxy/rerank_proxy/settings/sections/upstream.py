"""The section about the Elasticsearch behind the proxy."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, model_validator

from rerank_proxy.settings.cloud_id import url_of_cloud_id
from rerank_proxy.settings.sections.tls import TlsVersion
from rerank_proxy.settings.values import (
    CloudId,
    Count,
    Fingerprint,
    HttpUrl,
    HttpUrls,
    Seconds,
    Secret,
    Section,
    ServerName,
)


class UpstreamSettings(Section):
    url: HttpUrl | None = Field(
        "http://127.0.0.1:9200",
        description="The Elasticsearch that requests go to. If its host name has several addresses, each is "
        "a node. Give one of `url`, `urls` and `cloud_id`.",
    )
    urls: HttpUrls | None = Field(
        None,
        description="In place of `url`: the URLs of several nodes of one cluster, all with the same scheme.",
    )
    cloud_id: CloudId | None = Field(
        None, description="In place of `url`: the Cloud ID of a deployment in Elastic Cloud."
    )
    ca_certs: Path | None = Field(
        None,
        description="PEM file of the certificate authorities to trust for `https`. Absent: those of the "
        "system.",
    )
    verify_certs: bool = Field(True, description="Check upstream's certificate and host name.")
    host_header: Literal["auto", "client", "upstream"] = Field(
        "auto",
        description="The `Host` header that upstream sees: the client's, or upstream's host (for virtual "
        "hosting). `auto`: upstream's for `https` URLs with a public name, the client's for all others.",
    )
    connect_timeout_s: Seconds = Field(10.0, description="Seconds to wait for a connection to upstream.")
    idle_timeout_s: Seconds = Field(
        60.0, description="Seconds after which an unused connection to upstream is closed."
    )
    max_idle_connections: Count = Field(
        256, description="The most unused connections to upstream that are kept open."
    )
    client_cert: Path | None = Field(
        None,
        description="PEM file of the certificate that the proxy shows to upstream, followed by those of the "
        "authorities between it and the one that upstream trusts. Absent: it shows none.",
    )
    client_key: Path | None = Field(
        None,
        description="PEM file of the key of `client_cert`. Absent: the key is in the file `client_cert`.",
    )
    client_key_password: Secret | None = Field(
        None, description="What decrypts the key of `client_cert`, if it is encrypted."
    )
    ca_fingerprint: Fingerprint | None = Field(
        None,
        description="SHA-256 fingerprint, in hexadecimal with or without colons, of upstream's certificate "
        "or of an authority in the chain that upstream shows, as Elasticsearch prints it at its first start. "
        "It is trusted in place of the authorities of `ca_certs`, and host names are not compared; where "
        "`ca_certs` is given too, both are checked.",
    )
    server_name: ServerName | None = Field(
        None,
        description="The name to ask upstream for (SNI) and to look for in its certificate. Absent: the host "
        "of `url`.",
    )
    min_tls_version: TlsVersion = Field(
        "1.2", description="The oldest version of TLS that upstream may speak."
    )

    @model_validator(mode="before")
    @classmethod
    def _default_gives_way(cls, values: Any) -> Any:
        """Leave out the default of `url` where nodes are given in another way."""
        if isinstance(values, Mapping) and not (values.get("urls") is values.get("cloud_id") is None):
            return {"url": None, **values}
        return values

    @model_validator(mode="after")
    def _one_way_to_give_nodes(self) -> "UpstreamSettings":
        if sum(each is not None for each in (self.url, self.urls, self.cloud_id)) != 1:
            raise ValueError("give one of `url`, `urls` and `cloud_id`")
        return self

    @property
    def node_urls(self) -> tuple[str, ...]:
        """Return the URLs of the nodes, whichever way they are given: one at least, with one scheme."""
        if self.cloud_id is not None:
            return (url_of_cloud_id(self.cloud_id),)
        return self.urls or (self.url or "",)
