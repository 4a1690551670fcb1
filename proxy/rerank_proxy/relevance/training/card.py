"""The model card: README.md with the front matter that hubs read, made of what was measured."""

import shlex
from collections.abc import Mapping, Sequence
from datetime import date
from typing import Final

import yaml

from rerank_proxy.relevance.numbers import interval, number, p_of, signed
from rerank_proxy.relevance.training.assessing import BASE, FIRST, FUSED, MEASURES, TRAINED
from rerank_proxy.relevance.training.bases import digest_of, name_of
from rerank_proxy.relevance.training.fusing import MEASURE
from rerank_proxy.relevance.training.losses import IN_WORDS
from rerank_proxy.relevance.training.running import WHY_LEFT_OUT, Outcome, Plan

_TAGS: Final[Mapping[str, tuple[str, str, Sequence[str]]]] = {
    "head": ("sentence-transformers", "sentence-similarity", ("sentence-transformers", "reranker")),
    "bi-encoder": ("sentence-transformers", "sentence-similarity", ("sentence-transformers", "reranker")),
    "cross-encoder": (
        "sentence-transformers",
        "text-ranking",
        ("sentence-transformers", "cross-encoder", "reranker"),
    ),
}
_HOW: Final = {
    "fusion": "The weights of a fusion of two scores: the first stage's, and those of a model as it is.",
    "head": "A linear layer above a bi-encoder, trained with the softmax over all texts, and fused with the "
    "first stage.",
    "bi-encoder": "All weights of a bi-encoder, trained with hard negatives, averaged with those it started "
    "from, and fused with the first stage.",
    "cross-encoder": "A cross-encoder, first distilled from a teacher if it started from a bi-encoder or one "
    "was named, then tuned by judgments, and fused with the first stage.",
}


def card_of(outcome: Outcome, versions: Mapping[str, str], today: date, *, by_teacher: bool) -> str:
    """Return the card in Markdown.

    Args:
        by_teacher: True if grades were made from a teacher's scores.
    """
    parts = [_front_matter(outcome), _head(outcome), _table(outcome), _data(outcome, by_teacher=by_teacher)]
    return "\n".join([*parts, _use(outcome), _made(outcome, versions, today)])


def _front_matter(outcome: Outcome) -> str:
    library, pipeline, tags = _TAGS.get(outcome.choice.recipe, ("", "", ()))
    values: dict[str, object] = {}
    if library:
        values = {"library_name": library, "pipeline_tag": pipeline, "tags": [*tags]}
    if outcome.plan.base is not None:
        values["base_model"] = name_of(outcome.plan.base)
    text = yaml.safe_dump(values, sort_keys=False, allow_unicode=True) if values else ""
    return f"---\n{text}---\n" if text else ""


def _head(outcome: Outcome) -> str:
    mark = "" if outcome.assessment.better else "**Not shown to be better than what was there before.** "
    return (
        f"# {outcome.plan.name}\n\n{_HOW[outcome.choice.recipe]}\n\n{mark}{outcome.assessment.sentence()}\n"
    )


def _table(outcome: Outcome) -> str:
    assessment = outcome.assessment
    order = [
        FIRST,
        BASE,
        *(name for name in assessment.figures if name not in (FIRST, BASE, TRAINED)),
        TRAINED,
    ]
    lines = [
        f"| | {' | '.join(MEASURES)} | {MEASURE} of the trained model beside it | p |",
        "|---|--:|--:|--:|--:|",
    ]
    for name in order:
        figures = assessment.figures[name]
        cells = [
            f"{number(figures[each].mean)} ({number(figures[each].low)} to {number(figures[each].high)})"
            for each in MEASURES
        ]
        beside = assessment.comparisons.get(name, assessment.beside_fused if name == FUSED else None)
        if beside is not None:
            cells.append(
                f"{signed(beside.difference)} ({interval(beside.low, beside.high)}), better for "
                f"{beside.wins} queries, worse for {beside.losses}"
            )
            cells.append(p_of(beside.adjusted))
        else:
            cells += ["", ""]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    note = (
        "In brackets: the interval that holds the true mean with a confidence of 95 % (bootstrap). p is that "
        "of the paired randomisation test, corrected for two comparisons (Holm), but for that with a fusion."
    )
    return "\n".join(["## Measured", "", *lines, "", note, ""])


def _data(outcome: Outcome, *, by_teacher: bool) -> str:
    material, plan = outcome.material, outcome.plan
    queries = list(material.queries)
    teacher = f"the scores of the teacher `{plan.teacher}`"
    source = f"{teacher}, not of people's judgments" if by_teacher else "judgments"
    said = [
        f"{len(queries)} queries with {material.pairs(queries)} relevant documents, made of {source}; the "
        f"first {plan.window} hits of the index `{plan.index}` for each, of which `{plan.field}` was read.",
    ]
    if (
        plan.teacher is not None
        and not by_teacher
        and outcome.choice.recipe in ("bi-encoder", "cross-encoder")
    ):
        said.append(f"It also learned from {teacher}.")
    if outcome.titles:
        said.append(f"It also learned from {outcome.titles} titles of documents, as queries.")
    if outcome.refitted:
        said.append(
            f"The figures are those of {len(outcome.parts)} models, each measured with the queries that it "
            "was not trained with; the model here was trained in the same way with all queries."
        )
    else:
        (part,) = outcome.parts
        said.append(
            f"{len(part.held_out)} queries were kept back for the figures; the model has seen none of them, "
            "nor another query with the same text."
        )
    if material.left_out:
        said.append(
            f"{material.left_out} further queries were left out, {WHY_LEFT_OUT}. `rerank-proxy evaluate` "
            "asks them, too, so its means are lower."
        )
    said.append(f"Queries are divided by the SHA-256 of the seed and their text; the seed is {plan.seed}.")
    return "\n".join(["## Data", "", *said, ""])


def _use(outcome: Outcome) -> str:
    plan = outcome.plan
    lines = ["## Use", ""]
    endpoint = plan.endpoint if outcome.choice.recipe == "fusion" and plan.endpoint else plan.name
    if endpoint == plan.name:
        name, directory = shlex.quote(plan.name), "that of this card"
        if outcome.choice.recipe == "fusion" and plan.base is not None:
            directory = f"that of {name_of(plan.base)}"
        lines += [
            "```sh",
            f"rerank-proxy serve --model {name}=DIRECTORY --endpoint {name}={name}",
            "```",
            "",
            f"`DIRECTORY` is {directory}.",
            "",
        ]
    weight = outcome.ready.weight
    fused = (
        f"adds the first stage's score with the weight {weight:g} and the model's with {1 - weight:g}, each "
        "scaled to 0 … 1"
        if weight
        else "takes the model's order alone"
    )
    lines += [
        f"`retriever.json` is the search that was measured: it {fused}, and asks the endpoint `{endpoint}`. "
        "`rerank-proxy evaluate --system retriever.json` measures it again.",
        "",
    ]
    return "\n".join(lines)


def _base(plan: Plan) -> str:
    if plan.base is None:
        return f"the model of the inference endpoint `{plan.endpoint}`"
    return f"{name_of(plan.base)}; SHA-256 of its weights: `{digest_of(plan.base)}`"


def _made(outcome: Outcome, versions: Mapping[str, str], today: date) -> str:
    plan = outcome.plan
    rows = {
        "date": today.isoformat(),
        "base": _base(plan),
        "recipe": f"{outcome.choice.recipe} ({outcome.choice.reason})",
        "seed": str(plan.seed),
        "device": plan.device,
        **versions,
    }
    if outcome.loss is not None:
        rows["loss"] = f"{IN_WORDS[outcome.loss.name]} ({outcome.loss.reason})"
    lines = [f"| {name} | {value} |" for name, value in rows.items()]
    return "\n".join(["## Made", "", "| | |", "|---|---|", *lines, ""])
