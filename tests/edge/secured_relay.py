"""A relay that speaks TLS, and what its tests ask and look at."""

import hashlib
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from rerank_proxy.edge.server import Edge
from rerank_proxy.settings import load
from tests.edge.samples import GET
from tests.support.raw_http import Wire
from tests.support.tls import Certificate

INFO = (
    b"HTTP/1.1 200 OK\r\nX-elastic-product: Elasticsearch\r\ncontent-type: application/json\r\n"
    b'content-length: 41\r\n\r\n{"version":{"number":"9.5.0"},"name":"n"}'
)


@asynccontextmanager
async def running(app_socket: Path, url: str, **sections: Any) -> AsyncIterator[Edge]:
    values: dict[str, Any] = {"listen": "127.0.0.1:0", "upstream": {"url": url}}
    for name, value in sections.items():
        values[name] = {**values.get(name, {}), **value}
    edge = Edge(load(None, values, {}), app_socket)
    await edge.start()
    try:
        yield edge
    finally:
        await edge.stop()


def files(issued: Certificate, prefix: str = "") -> dict[str, str]:
    return {f"{prefix}cert": str(issued.path), f"{prefix}key": str(issued.key_path)}


def shown_to(wire: Wire) -> str:
    tls: ssl.SSLObject = wire.tls
    der = tls.getpeercert(binary_form=True)
    assert der is not None
    return hashlib.sha256(der).hexdigest()


async def ask(wire: Wire) -> bytes:
    await wire.send(GET)
    return (await wire.read_message()).raw
