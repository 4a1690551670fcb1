"""Packages that an extra of the project installs, and that are missing without it."""

from collections.abc import Sequence
from importlib.util import find_spec
from typing import Final

from rerank_proxy.relevance.errors import RelevanceError

_PACKAGES: Final[dict[str, Sequence[str]]] = {
    "evaluate": ("ir_measures", "jinja2", "matplotlib"),
    "train": ("ir_measures", "sentence_transformers", "datasets", "accelerate"),
}


def need(extra: str, what: str) -> None:
    """Check that the packages of an extra are installed, before hours are spent on what needs them.

    Args:
        what: What needs them, as in `an evaluation`.

    Raises:
        RelevanceError: One is not.
    """
    if not all(map(find_spec, _PACKAGES[extra])):
        raise RelevanceError(
            f"{what} needs the packages of the extra [{extra}]: run pip install 'rerank-proxy[{extra}]' in "
            "the environment of rerank-proxy"
        )
