"""What happened to a search, in the `X-Rerank` header of its answer."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

HEADER: Final = "X-Rerank"
_LONGEST_TOKEN: Final = 256
_LONGEST_LIST: Final = 4096
"""Bytes; many clients take no more than 8 KiB of headers altogether."""
_UNSAFE = re.compile(r"[^\x21-\x2b\x2d-\x3a\x3c-\x7e]")
"""What would end a value in the header, or cannot stand in one: separators, blanks, all beyond ASCII."""


@dataclass(frozen=True, slots=True)
class Applied:
    """The answer is reranked.

    Attributes:
        window: Documents that the inner retriever returned.
        scored: Those with text, hence with a score.
        cached: Those whose score, or whose embedding, was remembered.
        truncated: Those whose text or query was cut to the model's limit.
        ms: Milliseconds for the scores.
    """

    endpoint: str
    model: str
    window: int
    scored: int
    cached: int
    truncated: int
    ms: float

    def header(self) -> str:
        return (
            f"applied; endpoint={_token(self.endpoint)}; model={_token(self.model)}; window={self.window}; "
            f"scored={self.scored}; cached={self.cached}; truncated={self.truncated}; ms={self.ms:.1f}"
        )

    def profile(self) -> dict[str, Any]:
        """The same for `profile` of the answer."""
        return {"outcome": "applied", **asdict(self)}


@dataclass(frozen=True, slots=True)
class Skipped:
    """The answer is in first-stage order, because reranking failed and the request allowed that."""

    endpoint: str
    reason: str

    def header(self) -> str:
        return f"skipped; endpoint={_token(self.endpoint)}; reason={_token(self.reason)}"

    def profile(self) -> dict[str, Any]:
        """The same for `profile` of the answer."""
        return {"outcome": "skipped", **asdict(self)}


@dataclass(frozen=True, slots=True)
class Evaluated:
    """A tree of retrievers without a reranker was evaluated here, because upstream does not know them."""

    retrievers: tuple[str, ...]

    def header(self) -> str:
        return f"evaluated; retrievers={'+'.join(self.retrievers)}"


@dataclass(frozen=True, slots=True)
class Tree:
    """A tree with several rerankers: what happened to each, in the order in which they finished."""

    rerankers: tuple[Applied | Skipped, ...]

    def header(self) -> str:
        return ", ".join(each.header() for each in self.rerankers)


OneSearch = Applied | Skipped | Evaluated | Tree


def of_tree(retrievers: Iterable[str], rerankers: Sequence[Applied | Skipped]) -> OneSearch:
    """What happened to a search.

    Args:
        retrievers: The types in its tree.
    """
    if not rerankers:
        return Evaluated(tuple(dict.fromkeys(retrievers)))
    return rerankers[0] if len(rerankers) == 1 else Tree(tuple(rerankers))


@dataclass(frozen=True, slots=True)
class Several:
    """A request of many searches: what happened to each that reranked and did not fail.

    In the header they stand one after the other, as in a list of header values (RFC 9110, 5.6.1), each with
    the number of its item, from 0, after its first word. Those that make the list too long are only counted:

        applied; item=0; endpoint=…; …, skipped; item=3; endpoint=…; reason=…, omitted; items=12

    `none` says that there is none, because all of them failed.
    """

    items: Mapping[int, OneSearch]

    def header(self) -> str:
        shown: list[str] = []
        length = 0
        for number, outcome in self.items.items():
            parts = outcome.rerankers if isinstance(outcome, Tree) else (outcome,)
            text = ", ".join(part.header().replace("; ", f"; item={number}; ", 1) for part in parts)
            length += len(text) + len(", ")
            if length > _LONGEST_LIST:
                shown.append(f"omitted; items={len(self.items) - len(shown)}")
                break
            shown.append(text)
        return ", ".join(shown) or "none"


Outcome = OneSearch | Several


def _token(text: str) -> str:
    """A form that ends no parameter, list member or header: an endpoint id is the client's text and may hold
    anything, at any length.
    """
    return _UNSAFE.sub("_", text[:_LONGEST_TOKEN])
