"""What `check` says: lines for people, of which programs get the parts."""

from collections.abc import Callable
from platform import python_version
from typing import Any, Final

from rerank_proxy.observe.build import installed

_PACKAGES: Final = (
    "rerank-proxy",
    "torch",
    "transformers",
    "tokenizers",
    "aiohttp",
    "onnxruntime",
    "openvino",
)


class Line(str):
    """A line about one thing that was tried.

    Attributes:
        about: What it is about, such as `upstream`.
        outcome: `ok`, `warning`, `failed`, or `loading` for what is still under way.
        text: What there is to say.
    """

    __slots__ = ("about", "outcome", "text")
    about: str
    outcome: str
    text: str

    def __new__(cls, about: str, outcome: str, text: str) -> "Line":
        line = super().__new__(cls, f"{about:<10} {outcome:<7} {text}")
        line.about, line.outcome, line.text = about, outcome, text
        return line


Say = Callable[[Line], None]


def document(lines: list[Line], *, works: bool) -> dict[str, Any]:
    """Return what `check --json` prints."""
    return {
        "ok": works,
        "checks": [
            {"about": each.about, "outcome": each.outcome, "text": each.text}
            for each in lines
            if each.outcome != "loading"
        ],
        "versions": {"python": python_version(), **installed(_PACKAGES)},
    }
