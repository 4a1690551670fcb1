"""The outcomes of searches, as the `X-Rerank` header of their answers shows them."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, ClassVar, Final, Literal

HEADER: Final = "X-Rerank"
_LONGEST_TOKEN: Final = 256
_LONGEST_LIST: Final = 4096
"""Bytes; many clients accept no more than 8 KiB of headers altogether."""
_UNSAFE = re.compile(r"[^\x21-\x2b\x2d-\x3a\x3c-\x7e]")
"""Matches characters that would end a value or are not allowed in a header: separators, blanks, non-ASCII."""

NOT_LOOKED_UP: Final = "none"
"""Stands for the model of an endpoint that was not looked up."""

Word = Literal["applied", "skipped", "evaluated", "shadow", "interleaved"]
"""The outcome in a word, with which the header begins and by which metrics are labelled."""


@dataclass(frozen=True, slots=True)
class Applied:
    """The window was reranked.

    Attributes:
        field: The field that holds the texts.
        window: The number of documents that the inner retriever returned.
        scored: The number of those that have text, and therefore a score.
        cached: The number of those whose score or embedding was in the cache, of all of their chunks.
        truncated: The number of those whose text or query was cut to the model's limit, also in a chunk.
        ms: Milliseconds that scoring took.
        counted: Whether clients are shown the numbers.
        rank_window_size: What the request asks for; the window may hold fewer.
    """

    endpoint: str
    model: str
    window: int
    scored: int
    cached: int
    truncated: int
    ms: float
    field: str
    counted: bool = True
    rank_window_size: int = 0
    word: ClassVar[Word] = "applied"

    @property
    def rerankers(self) -> "tuple[Applied | Skipped, ...]":
        return (self,)

    @property
    def has_no_text(self) -> bool:
        """True if there were documents, but none has text in the field, whose name may be misspelt."""
        return self.scored == 0 < self.window

    def header(self) -> str:
        hint = f"no_text_in={_token(self.field)}; " if self.has_no_text else ""
        who = f"{self.word}; endpoint={_token(self.endpoint)}; model={_token(self.model)}"
        if not self.counted:
            return f"{who}; {hint}".removesuffix("; ")
        return (
            f"{who}; window={self.window}; scored={self.scored}; {hint}cached={self.cached}; "
            f"truncated={self.truncated}; ms={self.ms:.1f}"
        )

    def profile(self) -> dict[str, Any]:
        """Return the outcome for the `profile` section of the answer."""
        shown = asdict(self)
        field = shown.pop("field")
        del shown["rank_window_size"]
        if not shown.pop("counted"):
            shown = {name: shown[name] for name in ("endpoint", "model")}
        return {"outcome": self.word, **shown, **({"no_text_in": field} if self.has_no_text else {})}


@dataclass(frozen=True, slots=True)
class Skipped:
    """The answer is in first-stage order, because reranking failed and the request allows that.

    Attributes:
        reason: For the client: the type of the exception.
        model: That of the endpoint, where it was found.
        why: For metrics: one of few words.
    """

    endpoint: str
    reason: str
    model: str | None = field(default=None, compare=False)
    why: str = field(default="other", compare=False)
    word: ClassVar[Word] = "skipped"

    @property
    def rerankers(self) -> "tuple[Applied | Skipped, ...]":
        return (self,)

    def header(self) -> str:
        return f"{self.word}; endpoint={_token(self.endpoint)}; reason={_token(self.reason)}"

    def profile(self) -> dict[str, Any]:
        """Return the outcome for the `profile` section of the answer."""
        return {"outcome": self.word, "endpoint": self.endpoint, "reason": self.reason}


@dataclass(frozen=True, slots=True)
class Evaluated:
    """The proxy evaluated a tree of retrievers without a reranker, because upstream does not have them."""

    retrievers: tuple[str, ...]
    word: ClassVar[Word] = "evaluated"
    rerankers: ClassVar[tuple[Applied | Skipped, ...]] = ()

    def header(self) -> str:
        return f"{self.word}; retrievers={'+'.join(self.retrievers)}"


@dataclass(frozen=True, slots=True)
class Shadow:
    """The answer is that of the first stage; the window is scored later, for comparison alone."""

    endpoint: str
    word: ClassVar[Word] = "shadow"
    rerankers: ClassVar[tuple[Applied | Skipped, ...]] = ()

    def header(self) -> str:
        return f"{self.word}; endpoint={_token(self.endpoint)}"


@dataclass(frozen=True, slots=True)
class Interleaved:
    """The answer has the reranker's order and another one in one list.

    Attributes:
        against: The endpoint with the other order; None for the first stage.
    """

    applied: Applied
    against: str | None
    word: ClassVar[Word] = "interleaved"

    @property
    def rerankers(self) -> tuple[Applied | Skipped, ...]:
        return (self.applied,)

    def header(self) -> str:
        other = "" if self.against is None else f"; against={_token(self.against)}"
        return self.word + self.applied.header().removeprefix(self.applied.word) + other


@dataclass(frozen=True, slots=True)
class Tree:
    """The outcomes of the rerankers of one tree, in the order in which they finished.

    The header lists them one after the other; those that would make it too long are only counted:

        applied; endpoint=…; …, applied; endpoint=…; …, omitted; rerankers=12
    """

    rerankers: tuple[Applied | Skipped, ...]

    @property
    def word(self) -> Word:
        """The outcome of the tree: a skipped reranker leaves its part of the order to the first stage."""
        return "skipped" if any(isinstance(each, Skipped) for each in self.rerankers) else "applied"

    def header(self) -> str:
        return _listed([each.header() for each in self.rerankers], "rerankers")


Outcome = Applied | Skipped | Evaluated | Shadow | Interleaved | Tree


def of_tree(retrievers: Iterable[str], rerankers: Sequence[Applied | Skipped]) -> Outcome:
    """Return the outcome of a search.

    Args:
        retrievers: The types of the retrievers in its tree.
        rerankers: The outcomes of its rerankers.
    """
    if not rerankers:
        return Evaluated(tuple(dict.fromkeys(retrievers)))
    return rerankers[0] if len(rerankers) == 1 else Tree(tuple(rerankers))


@dataclass(frozen=True, slots=True)
class Several:
    """The outcomes of the searches in one request that were reranked and did not fail.

    The header lists them one after the other, as a list of header values (RFC 9110, 5.6.1), each with the
    number of its item, from 0, after its first word. Those that would make the list too long are only
    counted:

        applied; item=0; endpoint=…; …, skipped; item=3; endpoint=…; reason=…, omitted; items=12

    The header is `none` if all of them failed.
    """

    items: Mapping[int, Outcome]

    def header(self) -> str:
        texts = []
        for number, outcome in self.items.items():
            parts = outcome.rerankers if isinstance(outcome, Tree) else (outcome,)
            texts.append(", ".join(part.header().replace("; ", f"; item={number}; ", 1) for part in parts))
        return _listed(texts, "items") or "none"


def _listed(texts: Sequence[str], what: str) -> str:
    """Return a list of header values; those that would make it too long are only counted."""
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
    """Return a text in a form that cannot end a parameter, a list member or the header.

    An endpoint id is chosen by a client, and may hold anything at any length.
    """
    return _UNSAFE.sub("_", text[:_LONGEST_TOKEN])
