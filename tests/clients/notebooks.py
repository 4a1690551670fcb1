"""The code in the text of a notebook, told from the prose and the output around it."""

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Literal

_CELL: Final = re.compile(r"^In \[[^]\n]*\]:\n", re.MULTILINE)
_FENCE: Final = re.compile(r"^```(python|bash)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_CLOUD: Final = {"cloud_id=ELASTIC_CLOUD_ID": "hosts=ELASTIC_CLOUD_ID", "--cloud-id ": "--url "}
"""What changes of the code: a Cloud ID names a host of its own, so that the proxy's URL takes its place."""


@dataclass(frozen=True)
class Cell:
    """Code in one language."""

    language: Literal["python", "bash"]
    code: str


def cells(text: str) -> list[Cell]:
    """Return the code of a notebook: fenced blocks, or what follows `In [5]:` where there are such lines."""
    if _CELL.search(text):
        return [cell for part in _CELL.split(text)[1:] for cell in _cells_of(part)]
    return [Cell("python" if match[1] == "python" else "bash", match[2]) for match in _FENCE.finditer(text)]


def _cells_of(part: str) -> Iterator[Cell]:
    """Read an exported cell, behind which output and prose follow without a sign.

    The code is the longest beginning that is Python; a line that begins with `!` is for the shell. Headings
    behind it are comments to Python, and do no harm.
    """
    lines = part.splitlines()
    while lines and lines[0].startswith("!"):
        yield Cell("bash", lines.pop(0).removeprefix("!") + "\n")
    ends = (end for end in range(len(lines), 0, -1) if _is_python("\n".join(lines[:end])))
    code = "\n".join(lines[: next(ends, 0)])
    if ast.parse(code).body:  # and not only a heading
        yield Cell("python", code + "\n")


def _is_python(code: str) -> bool:
    try:
        ast.parse(code)
    except SyntaxError:
        return False
    return True


def program(text: str) -> str:
    """Return a Python program that runs the cells of a notebook in their order, at a URL."""
    for old, new in _CLOUD.items():
        text = text.replace(old, new)
    parts = ["from stand_ins import shell\n"]
    parts += [
        cell.code if cell.language == "python" else f"shell({cell.code!r}, globals())\n"
        for cell in cells(text)
    ]
    return "\n".join(parts)
