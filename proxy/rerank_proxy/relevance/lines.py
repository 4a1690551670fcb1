"""The lines of a text file, with their numbers: what is wrong with one names the file and the line."""

import io
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from rerank_proxy.relevance.errors import FormatError
from rerank_proxy.relevance.files import read
from rerank_proxy.relevance.judgments import MAX_GRADE

MAX_BYTES: Final = 1 << 30
"""The largest file of queries, judgments or clicks."""
MAX_LINE: Final = 1 << 20
"""The most bytes of a line."""
MAX_ID: Final = 512
"""The most bytes of an id: Elasticsearch allows no longer ones."""


@dataclass(frozen=True, slots=True)
class Line:
    """A line that is not blank, without its end.

    Attributes:
        number: From 1.
    """

    file: Path
    number: int
    text: str

    def fault(self, problem: str) -> FormatError:
        return FormatError(self.file, self.number, problem)

    def object(self) -> dict[str, Any]:
        """Read the line as a JSON object.

        Raises:
            FormatError: It is something else.
        """
        try:
            value = json.loads(self.text)
        except (ValueError, RecursionError) as error:
            reason = error.msg if isinstance(error, json.JSONDecodeError) else "too deep or too long"
            raise self.fault(f"is not JSON: {reason}") from None
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
        try:
            length = len(value.encode("utf-8"))
        except UnicodeEncodeError:
            raise self.fault(f"the {what} holds half of a surrogate pair, which is not a character") from None
        if length > MAX_ID:
            raise self.fault(f"the {what} is longer than {MAX_ID} bytes, the most that Elasticsearch allows")
        return value

    def query_text(self, value: Any) -> str:
        """Return the text of a query.

        Raises:
            FormatError: It is blank, or not text.
        """
        if not isinstance(value, str) or not value.strip():
            raise self.fault("the text of the query must be a text that is not blank")
        if any("\ud800" <= character <= "\udfff" for character in value):
            raise self.fault("the query holds half of a surrogate pair, which is not a character")
        return value

    def grade(self, value: Any) -> int:
        """Return a grade: a whole number, which may be written as 1.0.

        Raises:
            FormatError: It is none, or too large.
        """
        if isinstance(value, str) and len(value) < 20:
            try:
                value = float(value)
            except ValueError:
                value = None
        if isinstance(value, bool) or not isinstance(value, int | float) or value != value // 1:
            raise self.fault("the grade must be a whole number, such as 0, 1 or 2")
        if not -MAX_GRADE <= value <= MAX_GRADE:
            raise self.fault(f"the grade must be between -{MAX_GRADE} and {MAX_GRADE}")
        return int(value)


def lines_of(path: Path) -> Iterator[Line]:
    r"""Yield the lines of a file in UTF-8 that are not blank. Only \n and \r\n end a line.

    Raises:
        RelevanceError: The file cannot be read. Or a line is too long or not UTF-8, with its number.
    """
    for number, ended in enumerate(io.BytesIO(read(path, MAX_BYTES)), 1):
        data = ended.removesuffix(b"\n")
        if len(data) > MAX_LINE:
            raise FormatError(path, number, f"is longer than {MAX_LINE} bytes")
        try:
            text = data.decode("utf-8-sig" if number == 1 else "utf-8").removesuffix("\r")
        except UnicodeDecodeError:
            raise FormatError(path, number, "is not UTF-8: save the file in that coding") from None
        if text.strip():
            yield Line(path, number, text)
