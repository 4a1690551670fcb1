"""Tables: columns with tabs, commas or semicolons between them, and a first line that names them."""

import csv
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from rerank_proxy.relevance.formats.lines import Line
from rerank_proxy.relevance.formats.rows import plain

TAB: Final = "\t"
_SEPARATORS: Final = (TAB, ",", ";")


@dataclass(frozen=True, slots=True)
class Header:
    """The first line of a table.

    Attributes:
        names: Of the columns, as `plain` writes them.
    """

    separator: str
    names: tuple[str, ...]

    @classmethod
    def of(cls, line: Line, *wanted: Collection[str]) -> "Header | None":
        """Return the header that a line is; None if it is none.

        Args:
            wanted: Groups of names: it has at least one of each.
        """
        for separator in _SEPARATORS:
            names = tuple(plain(name.strip('"')) for name in line.text.split(separator))
            if len(names) > 1 and all({*names} & {*group} for group in wanted):
                return cls(separator, names)
        return None

    def rows(self, lines: Iterable[Line]) -> Iterator[tuple[Line, dict[str, str]]]:
        """Yield the values of each row by the names of the columns; of equal names, the first counts.

        Raises:
            FormatError: A row has more or fewer columns, or its quotes do not close.
        """
        for line, columns in self._split(lines):
            if len(columns) != len(self.names):
                raise line.fault(f"has {len(columns)} columns, and the header {len(self.names)}")
            pairs = zip(reversed(self.names), reversed(columns), strict=True)
            yield line, {name: value.strip() for name, value in pairs}

    def _split(self, lines: Iterable[Line]) -> Iterator[tuple[Line, list[str]]]:
        if self.separator == TAB:  # in which quotes are part of the text, as in MS MARCO's
            yield from ((line, line.text.split(TAB)) for line in lines)
            return
        last: Line | None = None

        def texts() -> Iterator[str]:
            nonlocal last
            for last in lines:
                yield f"{last.text}\n"

        reader = csv.reader(texts(), delimiter=self.separator, strict=True)
        try:
            for columns in reader:
                assert last is not None  # it is what the columns were read from
                yield last, columns
        except csv.Error as error:
            assert last is not None
            raise last.fault(f"is not CSV: {error}; close every quote, and double those within") from None
