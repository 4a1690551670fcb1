"""The lines of a text file, with their numbers: what is wrong with one names the file and the line."""

import io
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from rerank_proxy.relevance.errors import FormatError
from rerank_proxy.relevance.judgments import MAX_GRADE

MAX_LINE: Final = 1 << 20
"""The most bytes of a line."""
MAX_ID: Final = 512
"""The most bytes of an id: Elasticsearch allows no longer ones."""
_GRADE: Final = re.compile(r"[+-]?[0-9]{1,9}(?:\.0*)?")
"""A whole number as programs write it: float() would read 1_0 as 10 as well."""
_SHOWN: Final = 40
"""Characters of a value that a fault shows."""


@dataclass(frozen=True, slots=True)
class Line:
    """A line that is not blank, without its end; or an entry of a file that is a single JSON document.

    Attributes:
        number: From 1.
        unit: What is numbered.
    """

    file: Path
    number: int
    text: str
    unit: str = "line"

    def fault(self, problem: str) -> FormatError:
        return FormatError(self.file, self.number, problem, unit=self.unit)

    def object(self) -> dict[str, Any]:
        """Read the line as a JSON object.

        Raises:
            FormatError: It is something else.
        """
        try:
            value = json_of(self.text)
        except (ValueError, RecursionError) as error:
            raise self.fault(f"is not JSON: {reason_of(error)}") from None
        if not isinstance(value, dict):
            raise self.fault("is not a JSON object: expected {…}")
        return value

    def member(self, values: dict[str, Any], *names: str) -> Any:
        """Return the first of some members that is there.

        Raises:
            FormatError: None of them is.
        """
        for name in names:
            if name in values:
                return values[name]
        raise self.fault(f'has no "{names[0]}"')

    def id(self, value: Any, what: str) -> str:
        """Return an id as text: whole numbers are taken as written.

        Raises:
            FormatError: It is empty, too long, or not text.
        """
        if isinstance(value, int) and not isinstance(value, bool):
            value = str(value)
        if not isinstance(value, str) or not value:
            raise self.fault(f"the {what} must be a text that is not empty")
        if len(self._encoded(value, what)) > MAX_ID:
            raise self.fault(f"the {what} is longer than {MAX_ID} bytes, the most that Elasticsearch allows")
        return value

    def query_text(self, value: Any) -> str:
        """Return the text of a query.

        Raises:
            FormatError: It is blank, or not text.
        """
        if not isinstance(value, str) or not value.strip():
            raise self.fault("the text of the query must be a text that is not blank")
        self._encoded(value, "query")
        return value

    def _encoded(self, text: str, what: str) -> bytes:
        """Return a text in UTF-8. JSON can hold, as \\ud800, what UTF-8 cannot."""
        try:
            return text.encode("utf-8")
        except UnicodeEncodeError:
            raise self.fault(f"the {what} holds half of a surrogate pair, which is not a character") from None

    def grade(self, value: Any) -> int:
        """Return a grade: a whole number, which may be written as 1.0.

        Raises:
            FormatError: It is none, or too large.
        """
        given = value
        if isinstance(value, str):
            value = float(value) if _GRADE.fullmatch(value.strip()) else None
        if isinstance(value, bool) or not isinstance(value, int | float) or value != value // 1:
            raise self.fault(
                f"the grade must be a whole number, such as 0, 1 or 2, and is {_short(given)}; put such "
                "numbers in place of labels and fractions"
            )
        if not -MAX_GRADE <= value <= MAX_GRADE:
            raise self.fault(f"the grade must be between -{MAX_GRADE} and {MAX_GRADE}")
        return int(value)


def lines_of(path: Path, content: bytes) -> Iterator[Line]:
    r"""Yield the lines of a text in UTF-8 that are not blank. Only \n and \r\n end a line.

    Args:
        path: The file that holds it.

    Raises:
        FormatError: A line is too long, not UTF-8, or holds what no text does.
    """
    for number, ended in enumerate(io.BytesIO(content), 1):
        data = ended.removesuffix(b"\n")
        if len(data) > MAX_LINE:
            raise FormatError(path, number, f"is longer than {MAX_LINE} bytes")
        try:
            text = data.decode("utf-8").removesuffix("\r")
        except UnicodeDecodeError:
            raise FormatError(path, number, "is not UTF-8: save the file in that coding") from None
        if "\0" in text:
            raise FormatError(path, number, "holds a NUL: is it in UTF-16? Save the file as UTF-8")
        if "\r" in text:
            raise FormatError(path, number, r"holds a carriage return (\r): end lines with \n or \r\n")
        if text.strip():
            yield Line(path, number, text)


def json_of(text: str | bytes) -> Any:
    """Parse JSON. Of members with one name, json.loads would take the last.

    Raises:
        ValueError, RecursionError: It cannot be.
    """
    return json.loads(text, object_pairs_hook=_members)


def reason_of(error: Exception) -> str:
    """Say why JSON cannot be parsed."""
    if isinstance(error, _TwiceError):
        return str(error)
    return error.msg if isinstance(error, json.JSONDecodeError) else "too deep or too long"


class _TwiceError(ValueError):
    """Two members of an object have one name."""


def _members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) < len(pairs):
        names = [name for name, _ in pairs]
        double = next(name for name in names if names.count(name) > 1)
        raise _TwiceError(f"{_short(double)} is there twice in one object")
    return members


def _short(value: Any) -> str:
    text = json.dumps(value, default=str)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]} …"
