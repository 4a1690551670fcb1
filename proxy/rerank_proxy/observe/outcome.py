"""What happened to a search, in the `X-Rerank` header of its answer."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, ClassVar, Final, Literal

HEADER: Final = "X-Rerank"
_LONGEST_TOKEN: Final = 256
_LONGEST_LIST: Final = 4096
"""Bytes; many clients take no more than 8 KiB of headers altogether."""
_UNSAFE = re.compile(r"[^\x21-\x2b\x2d-\x3a\x3c-\x7e]")
"""What would end a value in the header, or cannot stand in one: separators, blanks, all beyond ASCII."""

Word = Literal["applied", "skipped", "evaluated"]
"""What happened, in a word: the header of an answer begins with it, and metrics count by it."""


@dataclass(frozen=True, slots=True)
class Applied:
    """The answer is reranked.

    Attributes:
        field: Where the texts are.
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
    field: str
    word: ClassVar[Word] = "applied"

    @property
    def rerankers(self) -> "tuple[Applied | Skipped, ...]":
        return (self,)

    @property
    def has_no_text(self) -> bool:
        """Whether there were documents and none of them has text in the field, whose name may be misspelt."""
        return self.scored == 0 < self.window

    def header(self) -> str:
        hint = f"no_text_in={_token(self.field)}; " if self.has_no_text else ""
        return (
            f"{self.word}; endpoint={_token(self.endpoint)}; model={_token(self.model)}; "
            f"window={self.window}; scored={self.scored}; {hint}cached={self.cached}; "
            f"truncated={self.truncated}; ms={self.ms:.1f}"
        )

    def profile(self) -> dict[str, Any]:
        """The same for `profile` of the answer."""
        shown = asdict(self)
        field = shown.pop("field")
        return {"outcome": self.word, **shown, **({"no_text_in": field} if self.has_no_text else {})}


@dataclass(frozen=True, slots=True)
class Skipped:
    """The answer is in first-stage order, because reranking failed and the request allowed that."""

    endpoint: str
    reason: str
    word: ClassVar[Word] = "skipped"

    @property
    def rerankers(self) -> "tuple[Applied | Skipped, ...]":
        return (self,)

    def header(self) -> str:
        return f"{self.word}; endpoint={_token(self.endpoint)}; reason={_token(self.reason)}"

    def profile(self) -> dict[str, Any]:
        """The same for `profile` of the answer."""
        return {"outcome": self.word, **asdict(self)}


@dataclass(frozen=True, slots=True)
class Evaluated:
    """A tree of retrievers without a reranker was evaluated here, because upstream does not know them."""

    retrievers: tuple[str, ...]
    word: ClassVar[Word] = "evaluated"
    rerankers: ClassVar[tuple[Applied | Skipped, ...]] = ()

    def header(self) -> str:
        return f"{self.word}; retrievers={'+'.join(self.retrievers)}"


@dataclass(frozen=True, slots=True)
class Tree:
    """A tree with several rerankers: what happened to each, in the order in which they finished.

    In the header they stand one after the other; those that make it too long are only counted:

        applied; endpoint=…; …, applied; endpoint=…; …, omitted; rerankers=12
    """

    rerankers: tuple[Applied | Skipped, ...]

    @property
    def word(self) -> Word:
        """Of the whole: one that is skipped leaves its part of the order to the first stage."""
        return "skipped" if any(isinstance(each, Skipped) for each in self.rerankers) else "applied"

    def header(self) -> str:
        return _listed([each.header() for each in self.rerankers], "rerankers")


Outcome = Applied | Skipped | Evaluated | Tree


def of_tree(retrievers: Iterable[str], rerankers: Sequence[Applied | Skipped]) -> Outcome:
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

    items: Mapping[int, Outcome]

    def header(self) -> str:
        texts = []
        for number, outcome in self.items.items():
            parts = outcome.rerankers or (outcome,)
            texts.append(", ".join(part.header().replace("; ", f"; item={number}; ", 1) for part in parts))
        return _listed(texts, "items") or "none"


def _listed(texts: Sequence[str], what: str) -> str:
    """A list of header values; those that make it too long are only counted."""
    shown: list[str] = []
    length = 0
    for text in texts:
        length += len(text) + len(", ")
        if length > _LONGEST_LIST:
            shown.append(f"omitted; {what}={len(texts) - len(shown)}")
            break
        shown.append(text)
    return ", ".join(shown)


def _token(text: str) -> str:
    """A form that ends no parameter, list member or header: an endpoint id is the client's text and may hold
    anything, at any length.
    """
    return _UNSAFE.sub("_", text[:_LONGEST_TOKEN])
