"""The section about the Elasticsearch behind the proxy."""

from pathlib import Path
from typing import Literal

from pydantic import Field

from rerank_proxy.settings.values import Count, HttpUrl, Seconds, Section


class UpstreamSettings(Section):
    url: HttpUrl = Field("http://127.0.0.1:9200", description="The Elasticsearch that requests go to.")
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
