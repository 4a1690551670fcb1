"""A stand-in for the application's process: `python -m tests.support.app_double DIRECTORY`.

It begins like the real one, takes its orders, and serves both sockets. The file `pid`
in the directory says that it serves, as whom, and with which orders. It answers a search (without a body)
with `reranked`; one for `/slow/_search` only when the file `go` is there. With the file `broken` it ends at
once. New settings are written to `reloaded.json`, or answered with the file `refusal.json`.
"""

import asyncio
import json
import os
import re
import sys
from pathlib import Path

from prometheus_client.core import GaugeMetricFamily

from rerank_proxy.observe.families import packed
from rerank_proxy.processes.startup import orders_of_parent, prepare

READY = {"ready": True, "models": {"minilm": {"state": "ready", "detail": None}}}
METRICS = packed([GaugeMetricFamily("app_double", "1", 1)])


async def main(directory: Path) -> None:
    prepare()
    orders = json.loads(orders_of_parent())
    if (directory / "broken").exists():
        sys.exit(3)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = re.search(rb"(?i)content-length: (\d+)", head)
                writer.write(await answer(head, await reader.readexactly(int(length[1]) if length else 0)))
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    async def answer(head: bytes, sent: bytes) -> bytes:
        target = head.split(b" ")[1]
        status, body = b"200 OK", b"reranked"
        if target == b"/metrics":
            body = METRICS
        elif target == b"/ready":
            readiness = directory / "ready.json"
            value = json.loads(readiness.read_text()) if readiness.exists() else READY
            status = b"200 OK" if value["ready"] else b"503 Service Unavailable"
            body = json.dumps(value).encode()
        elif target == b"/reload":
            refusal = directory / "refusal.json"
            if refusal.exists():
                status, body = b"400 Bad Request", refusal.read_bytes()
            else:
                (directory / "reloaded.json").write_bytes(sent)
                status, body = b"202 Accepted", b""
        elif target.startswith(b"/slow/_search"):
            (directory / "arrived").touch()
            while not (directory / "go").exists():  # noqa: ASYNC110  # another process makes it
                await asyncio.sleep(0.01)
        return b"HTTP/1.1 %b\r\ncontent-length: %d\r\n\r\n%b" % (status, len(body), body)

    servers = [await asyncio.start_unix_server(serve, orders[key]) for key in ("socket", "control")]
    written = directory / "pid.new"
    written.write_text(json.dumps({"pid": os.getpid(), **orders}))
    written.rename(directory / "pid")
    await asyncio.gather(*(server.serve_forever() for server in servers))


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
