"""The threads on which texts are cut into chunks: there is one set for all calls of the process."""

from typing import Final

from rerank_proxy.concurrency.turns import Turns

LANE: Final = Turns(2, "chunks")
"""Python runs one thread at a time, but lets another run while a separator is searched for."""
