"""Reading answers: a list of results in one of the few forms that rerankers answer with."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from proxy.inference.ranking import RankedDoc


class MalformedAnswerError(Exception):
    """An answer of success that cannot be read. The message says where; it holds nothing of the answer."""


@dataclass(frozen=True, slots=True)
class Shape:
    """Where results are in an answer, for example `{"results": [{"index": 0, "relevance_score": 0.5}]}`.

    Attributes:
        rows: Keys that lead to the list, with dots between them; empty: the answer is the list.
        index: The key of a result's position in the input.
        score: Keys of the score; the first that is there counts.
        text: The key of the text, which is a string or an object with `text`.
    """

    rows: str = "results"
    index: str = "index"
    score: Sequence[str] = ("relevance_score",)
    text: str | None = "document"

    def read(self, answer: Any) -> list[RankedDoc]:
        """Raises:
        MalformedAnswerError: There is no such list, or a result lacks its position or score.
        """
        rows = answer
        for key in self.rows.split(".") if self.rows else ():
            rows = rows.get(key) if isinstance(rows, dict) else None
        where = f"[{self.rows}]" if self.rows else "the answer"
        if not isinstance(rows, list):
            raise MalformedAnswerError(f"{where} is not a list of results")
        return [self._doc(row, f"result [{number}] of {where}") for number, row in enumerate(rows)]

    def _doc(self, row: Any, where: str) -> RankedDoc:
        if not isinstance(row, dict):
            raise MalformedAnswerError(f"{where} is not an object")
        scores = [row[name] for name in self.score if name in row]
        index = as_index(row.get(self.index), f"[{self.index}] of {where}")
        score = as_score(scores[0] if scores else None, f"[{self.score[0]}] of {where}")
        return RankedDoc(index, score, as_text(row.get(self.text)) if self.text else None)


def as_index(value: Any, where: str) -> int:
    """A position, also as text or as a float without a fraction."""
    number = as_score(value, where)
    if not number.is_integer():
        raise MalformedAnswerError(f"{where} is not a whole number")
    return int(number)


def as_score(value: Any, where: str) -> float:
    """A number, also as text, as older services give it. That it is finite is for `Ranking.check` to see."""
    if isinstance(value, int | float | str) and not isinstance(value, bool):
        try:
            return float(value)
        except (ValueError, OverflowError):
            pass
    raise MalformedAnswerError(f"{where} is {'absent' if value is None else 'not a number'}")


def as_text(value: Any) -> str | None:
    """A document: its text, or an object that holds it."""
    if isinstance(value, dict):
        value = value.get("text")
    return value if isinstance(value, str) else None
