"""Indices that tests take in turn: each that is made costs Elasticsearch a tenth of a second of processor.

A test gets an index that an earlier one with the same wishes has left as it was. What it changes (documents,
mappings, settings, aliases, blocks, its state) is noticed when it gives the index back, which is then
deleted.
"""

import json
import uuid
from collections.abc import Iterable, Mapping
from typing import Any, Final

from testbed import Server

_MOST: Final = 6
"""As many indices are kept at a time: searches of all indices meet them."""


class KeptIndices:
    """The indices of one Elasticsearch that no test uses now."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._free: dict[str, tuple[str, Any]] = {}  # the wish for each, and how it was; the oldest first
        self._taken: dict[str, tuple[str, Any]] = {}

    def take(self, body: Mapping[str, Any], documents: Iterable[Mapping[str, Any]]) -> str:
        """Return an index of its own for the caller.

        Args:
            body: As in `PUT /{index}`.
            documents: They get the ids "0", "1" … in their order, and can be found at once.
        """
        documents = list(documents)
        wish = json.dumps([body, documents])  # in their order, which is seen in mappings and sources
        name = next((name for name, (of, _) in self._free.items() if of == wish), None)
        if name is not None:
            self._taken[name] = self._free.pop(name)
            return name
        name = f"test-{uuid.uuid4().hex[:12]}"
        self._make(name, body, documents)
        state = self._state(name)
        assert state is not None
        self._taken[name] = (wish, state)
        return name

    def give_back(self, names: Iterable[str]) -> None:
        """Keep the indices that are as they were; delete the others, and the oldest that are too many."""
        for name in names:
            wish, state = self._taken.pop(name)
            if self._state(name) == state:
                self._free[name] = (wish, state)
            else:
                self._server.call("DELETE", f"/{name}")
        while len(self._free) > _MOST:
            oldest = next(iter(self._free))
            del self._free[oldest]
            self._server.call("DELETE", f"/{oldest}")

    def delete_all(self) -> None:
        """Delete what is kept, after the last test."""
        for name in self._free:
            self._server.call("DELETE", f"/{name}")
        self._free.clear()

    def _make(self, name: str, body: Mapping[str, Any], documents: list[Mapping[str, Any]]) -> None:
        reply = self._server.call("PUT", f"/{name}", body)
        assert reply.status == 200, reply.body
        lines = [
            json.dumps(line)
            for number, document in enumerate(documents)
            for line in ({"index": {"_id": str(number)}}, document)
        ]
        if lines:
            bulk = ("\n".join(lines) + "\n").encode()
            reply = self._server.call("POST", f"/{name}/_bulk?refresh=true", bulk)
            assert reply.status == 200, reply.body
            assert reply.json()["errors"] is False, reply.body

    def _state(self, name: str) -> Any:
        """Return what changes with any write: the definition, and the number of operations."""
        definition = self._server.call("GET", f"/{name}?expand_wildcards=all")
        stats = self._server.call("GET", f"/{name}/_stats/docs?level=shards&forbid_closed_indices=false")
        if definition.status != 200 or stats.status != 200:
            return None
        shards = [
            shard["seq_no"]["max_seq_no"]
            for shards in stats.json()["indices"].get(name, {}).get("shards", {}).values()
            for shard in shards
        ]
        return definition.json(), shards
