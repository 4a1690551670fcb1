"""Reads answers: a list of results in one of the few forms that rerankers answer with.

An answer is decoded to the members that are needed and nothing else. Others are skipped where they are and
never become objects, and decoding ends at the first result that is malformed.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final, TypeVar

import msgspec

from rerank_proxy.inference.ranking import RankedDoc

Scalar = float | str | None
"""The type that positions and scores are decoded to. Integers become floats; true and false are refused."""
T = TypeVar("T")

_POSITION: Final = re.compile(r"-?[0-9]{1,9}(?:\.0)?")
_NUMBER: Final = re.compile(r"-?[0-9]{1,40}(?:\.[0-9]{1,40})?(?:[eE][+-]?[0-9]{1,3})?")
_MAX_POSITION: Final = 2.0**31


class MalformedAnswerError(Exception):
    """An answer of success cannot be read. The message says where, and holds nothing of the answer."""


class _Document(msgspec.Struct):
    text: str | None = None


_DOCUMENT: Final = msgspec.json.Decoder(str | _Document)


@dataclass(frozen=True, slots=True)
class Shape:
    """Where results are in an answer, for example `{"results": [{"index": 0, "relevance_score": 0.5}]}`.

    Attributes:
        rows: Keys that lead to the list, with dots between them; empty where the answer is the list.
        index: The key of a result's position in the input.
        score: Keys of the score; the first that is there counts.
        text: The key of the text, which is a string or an object with `text`; None where there are no texts.
    """

    rows: str = "results"
    index: str = "index"
    score: tuple[str, ...] = ("relevance_score",)
    text: str | None = "document"

    def read(self, answer: bytes | bytearray) -> list[RankedDoc]:
        """Return the results of an answer.

        Raises:
            MalformedAnswerError: There is no such list, or a result lacks its position or score.
        """
        rows = decoded(_decoder(self), answer)
        for _ in self.rows.split(".") if self.rows else ():
            rows = rows.inner
        where = f"of [{self.rows}]" if self.rows else "of the answer"
        return [self._doc(row, f"result [{number}] {where}") for number, row in enumerate(rows)]

    def _doc(self, row: Any, where: str) -> RankedDoc:
        scores = [each for name in _fields(self.score) if (each := getattr(row, name)) is not msgspec.UNSET]
        index = as_index(row.index, f"[{self.index}] of {where}")
        score = as_score(scores[0] if scores else None, f"[{self.score[0]}] of {where}")
        return RankedDoc(index, score, as_text(row.text) if self.text else None)


def decoded(decoder: "msgspec.json.Decoder[T]", answer: bytes | bytearray) -> T:
    """Return an answer as a decoder reads it.

    Raises:
        MalformedAnswerError: It is not JSON, or not of that form.
    """
    try:
        return decoder.decode(answer)
    except msgspec.ValidationError as error:
        raise MalformedAnswerError(str(error)) from None
    except (msgspec.DecodeError, UnicodeDecodeError, ValueError):
        raise MalformedAnswerError("it is not JSON") from None
    except RecursionError:
        raise MalformedAnswerError("it is nested too deep") from None


def struct(members: Mapping[str, tuple[str, Any]], optional: Iterable[str] = ()) -> type[msgspec.Struct]:
    """Return a type of objects with these members; others are skipped.

    Args:
        members: JSON name and type by the name of the attribute.
        optional: Attributes that are `UNSET` where the member is absent.
    """
    absent = set(optional)
    required = [(name, type_) for name, (_, type_) in members.items() if name not in absent]
    others = [
        (name, type_ | msgspec.UnsetType if type_ is not msgspec.Raw else type_, _absent(type_))
        for name, (_, type_) in members.items()
        if name in absent
    ]
    renamed = {name: json_name for name, (json_name, _) in members.items()}
    return msgspec.defstruct("object", [*required, *others], rename=renamed, gc=False)


def _absent(type_: Any) -> Any:
    return msgspec.Raw() if type_ is msgspec.Raw else msgspec.UNSET


@lru_cache
def _decoder(shape: Shape) -> "msgspec.json.Decoder[Any]":
    members: dict[str, tuple[str, Any]] = {"index": (shape.index, Scalar)}
    scores = dict(zip(_fields(shape.score), shape.score, strict=True))
    members |= {field: (name, Scalar) for field, name in scores.items()}
    optional = list(scores) if len(scores) > 1 else []
    if shape.text is not None:
        members["text"] = (shape.text, msgspec.Raw)
        optional.append("text")
    type_: Any = list[struct(members, optional)]  # type: ignore[misc]
    for key in reversed(shape.rows.split(".") if shape.rows else []):
        type_ = struct({"inner": (key, type_)})
    return msgspec.json.Decoder(type_)


def _fields(scores: Sequence[str]) -> list[str]:
    return [f"score_{number}" for number in range(len(scores))]


def as_index(value: Scalar, where: str) -> int:
    """Return a position. It may also come as a text, or as a float without a fraction.

    Raises:
        MalformedAnswerError: It is not one. The message does not hold it.
    """
    if isinstance(value, str) and _POSITION.fullmatch(value):
        return int(float(value))
    if isinstance(value, float) and abs(value) < _MAX_POSITION and value.is_integer():
        return int(value)
    raise MalformedAnswerError(f"{where} is {'absent' if value is None else 'not a position'}")


def as_score(value: Scalar, where: str) -> float:
    """Return a score. It may also come as a text, as from older services. Whether a float32 can hold it is
    checked later, by `check_results`.

    Raises:
        MalformedAnswerError: It is not a number.
    """
    if isinstance(value, str) and _NUMBER.fullmatch(value):
        return float(value)
    if isinstance(value, float):
        return value
    raise MalformedAnswerError(f"{where} is {'absent' if value is None else 'not a number'}")


def as_text(value: msgspec.Raw) -> str | None:
    """Return the text of a document: a string, or an object that holds one; None for all else."""
    try:
        document = _DOCUMENT.decode(value)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    return document if isinstance(document, str) else document.text
