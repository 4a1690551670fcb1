"""The sections about relaying: listeners, limits, and stopping."""

from pydantic import ByteSize, Field

from rerank_proxy.settings.sections.tls import ListenerTlsSettings
from rerank_proxy.settings.values import (
    Address,
    BearerToken,
    Count,
    ListenAddress,
    PublicAddress,
    Reloaded,
    Seconds,
    Section,
    Words,
)


class AdminSettings(Section):
    listen: ListenAddress = Field(
        Address("127.0.0.1", 9202),
        description="Where `/live`, `/ready` and `/metrics` are served, and pages for browsers.",
    )
    tls: ListenerTlsSettings = Field(ListenerTlsSettings(), description="TLS of the admin listener.")
    token: Reloaded[BearerToken | None] = Field(
        None,
        description="What `Authorization: Bearer` has to show for everything but the status of `/live` and "
        "`/ready`: at least 16 letters, digits and `-._~+/`, `=` at the end. Absent: nothing need be shown.",
    )
    open: Reloaded[bool] = Field(
        False,
        description="Answer everything without a token also where `listen` is not a loopback address. "
        "`false`: without a token, such a listener answers the status of `/live` and `/ready` alone.",
    )
    hosts: Reloaded[Words] = Field(
        (),
        description="Names by which the admin port may be addressed, besides addresses and `localhost`. They "
        "are checked where no token is needed: always on a loopback address, elsewhere if any are given.",
    )
    playground: Reloaded[bool | None] = Field(
        None,
        description="Whether the page at `/` may search, with the credentials that a visitor gives it. "
        "Absent: where `token` is set or `listen` is a loopback address.",
    )


class EdgeSettings(Section):
    processes: Count = Field(
        1,
        description="How many processes serve the clients' port, each with a share of the limits below and "
        "of `upstream.max_idle_connections`. One uses at most one CPU core.",
    )
    max_body: Reloaded[ByteSize] = Field(
        ByteSize(100 * 1024 * 1024),
        description="The largest search body that is buffered and inspected (Elasticsearch's own limit is "
        "100 MiB); a larger one is answered 413. Other bodies are streamed and have no limit here.",
    )
    max_buffered: Reloaded[ByteSize] = Field(
        ByteSize(512 * 1024 * 1024),
        description="The most bytes of search bodies that are buffered at a time over all connections. "
        "Bodies that the application will decode count decoded; those of up to 16 KiB that come as a whole "
        "and hold nothing for it do not count. Beyond it searches are answered 429.",
    )
    max_inflation: Reloaded[Count] = Field(
        100,
        description="The most bytes that each byte of a compressed body for the application may decode to; "
        "1 MiB is always allowed, more than `max_body` never. A longer body is answered 413.",
    )
    max_head: Reloaded[ByteSize] = Field(
        ByteSize(64 * 1024),
        description="The largest request line and headers together. Elasticsearch itself refuses more than "
        "16 KiB.",
    )
    max_connections: Reloaded[Count] = Field(
        10_000, description="The most client connections at a time; further ones wait."
    )
    rewrite_node_addresses: bool = Field(
        True,
        description="Name the proxy's address where `_nodes` would name those of the nodes, so that clients "
        "that sniff stay with the proxy.",
    )
    public_address: PublicAddress | None = Field(
        None,
        description="That address, as `HOST:PORT`. Absent: the one by which the client reached the proxy, as "
        "its `Host` says.",
    )


class LifecycleSettings(Section):
    drain_delay_s: Reloaded[float] = Field(
        0.0,
        ge=0,
        description="Seconds between SIGTERM and closing the listener, in which `/ready` answers 503 and a "
        "load balancer can take the proxy out. 0 is right for a sidecar of the client.",
    )
    shutdown_timeout_s: Reloaded[Seconds] = Field(
        20.0, description="Seconds that requests in progress may then take to finish."
    )
