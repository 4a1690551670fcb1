"""Write what a training came to: the model's directory, its card, the search, and the figures."""

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from safetensors import SafetensorError

from rerank_proxy import __version__
from rerank_proxy.files.atomic import replace
from rerank_proxy.files.swap import restore, take_place
from rerank_proxy.observe.build import installed
from rerank_proxy.relevance.errors import RelevanceError
from rerank_proxy.relevance.training.bases import name_of
from rerank_proxy.relevance.training.card import card_of
from rerank_proxy.relevance.training.fusing import template_of
from rerank_proxy.relevance.training.portable import make_portable
from rerank_proxy.relevance.training.running import Outcome

CARD: Final = "README.md"
SEARCH: Final = "retriever.json"
FIGURES: Final = "evaluation.json"
_PACKAGES: Final = ("sentence-transformers", "transformers", "torch")


def check_free(directory: Path, *, overwrite: bool) -> None:
    """Check that a directory can be written to, before hours of work.

    Raises:
        RelevanceError: There is something in it already, or it cannot be written or replaced.
    """
    if os.path.ismount(directory):
        raise RelevanceError(f"--out {directory}: is a mount, which nothing can replace: name a folder in it")
    parent = next(each for each in directory.absolute().parents if each.exists())
    if not os.access(parent, os.W_OK | os.X_OK):
        raise RelevanceError(f"--out {directory}: cannot be written: {parent} is not writable by this user")
    with _told(directory):
        restore(directory)
    if directory.exists() and not directory.is_dir():
        raise RelevanceError(f"--out {directory}: is a file")
    if directory.is_dir() and any(directory.iterdir()):
        if not overwrite:
            raise RelevanceError(
                f"--out {directory}: is not empty; give --overwrite to replace what is in it"
            )
        if not (directory / FIGURES).is_file():
            raise RelevanceError(f"--out {directory}: holds something else than a model of this command")


def write(outcome: Outcome, directory: Path, *, by_teacher: bool) -> dict[str, Any]:
    """Write everything beside the directory first, so that what is there is whole.

    Returns:
        The figures, as they are in `evaluation.json`.

    Raises:
        RelevanceError: It cannot be written.
    """
    directory = Path(os.path.realpath(directory))
    new = directory.with_name(f".{directory.name}.new")
    with _told(directory):
        shutil.rmtree(new, ignore_errors=True)
        new.mkdir(parents=True)
        outcome.ready.model.save(new)
        if outcome.plan.base is not None:
            make_portable(new, outcome.plan.base)
        figures = _figures(outcome)
        card = card_of(outcome, _versions(), datetime.now(UTC).date(), by_teacher=by_teacher)
        for name, content in ((CARD, card), (SEARCH, _json(_search(outcome))), (FIGURES, _json(figures))):
            replace(new / name, content.encode("utf-8"), 0o644)
        take_place(new, directory)
    return figures


@contextmanager
def _told(directory: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise RelevanceError(f"{directory}: cannot be written: {error.strerror or error}") from None
    except SafetensorError as error:  # of the weights, whose writer has errors of its own
        raise RelevanceError(f"{directory}: cannot be written: {error}") from None


def _search(outcome: Outcome) -> dict[str, Any]:
    plan = outcome.plan
    untrained = outcome.choice.recipe == "fusion" and plan.endpoint is not None
    return template_of(
        plan.first,
        endpoint=str(plan.endpoint) if untrained else plan.name,
        field=plan.field,
        window=plan.window,
        weight=outcome.ready.weight,
    )


def _figures(outcome: Outcome) -> dict[str, Any]:
    plan = outcome.plan
    return {
        **outcome.assessment.document(),
        "recipe": outcome.choice.recipe,
        "reason": outcome.choice.reason,
        "weight_of_the_first_stage": outcome.ready.weight,
        "seed": plan.seed,
        "window": plan.window,
        "index": plan.index,
        "field": plan.field,
        "loss": None if outcome.loss is None else outcome.loss.name,
        "titles": outcome.titles,
        "base": None if plan.base is None else name_of(plan.base),
        "trained_with_all": outcome.refitted,
        "parts": [{"train": [*part.train], "held_out": [*part.held_out]} for part in outcome.parts],
        "versions": _versions(),
    }


def _versions() -> dict[str, str]:
    return {"rerank-proxy": __version__, **installed(_PACKAGES)}


def _json(value: Any) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False) + "\n"
