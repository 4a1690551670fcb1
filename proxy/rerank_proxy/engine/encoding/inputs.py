"""The inputs of one call: its texts, ready for a scorer, and the keys of their outputs."""

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Final

from rerank_proxy.concurrency.steps import Steps
from rerank_proxy.engine.encoding.scorers import Scorer
from rerank_proxy.engine.encoding.tokenizer import portions

_PREPARED_CHARACTERS: Final = 1_000_000
"""Characters of the texts that are prepared in one step: some milliseconds."""


@dataclass(frozen=True, slots=True)
class Inputs:
    """A query and texts as a scorer takes them."""

    scorer: Scorer
    query: str
    texts: list[str]
    keys: list[bytes]
    """One per input of the scorer."""
    cut: list[bool]
    """Of each text, whether only the beginning is here; of all of them if it is the query that was cut."""

    @classmethod
    def of(
        cls,
        scorer: Scorer,
        query: str,
        texts: Sequence[str],
        limit: int,
        known_keys: Sequence[bytes] = (),
        namespace: bytes = b"",
    ) -> "Steps[Inputs]":
        """Prepare the texts for a scorer, each up to `limit` characters.

        Args:
            known_keys: The keys of inputs that were prepared from the same before; none to compute them.
            namespace: Part of all keys, unless it is empty; at most 64 bytes.
        """
        query_cut = len(query) > limit
        query = _encodable(query[:limit])
        clean: list[str] = []
        cut: list[bool] = []
        keys = [*known_keys]
        for start, end in portions(texts, _PREPARED_CHARACTERS):
            portion = [_encodable(text[:limit]) for text in texts[start:end]]
            clean += portion
            cut += [query_cut or len(text) > limit for text in texts[start:end]]
            if not known_keys:
                keys += _within(namespace, scorer.keys(query, portion)[scorer.texts_at if start else 0 :])
            yield
        return cls(scorer, query, clean, keys, cut)

    @property
    def text_keys(self) -> list[bytes]:
        """The keys of the texts, without that of a query."""
        return self.keys[self.scorer.texts_at :]


def _within(namespace: bytes, keys: list[bytes]) -> list[bytes]:
    """Return the keys of the same inputs in a namespace."""
    if not namespace:
        return keys
    return [blake2b(key, digest_size=len(key), key=namespace).digest() for key in keys]


def _encodable(text: str) -> str:
    """Replace halves of surrogate pairs, which JSON can carry but no tokenizer takes, by U+FFFD."""
    if text.isascii():
        return text
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
