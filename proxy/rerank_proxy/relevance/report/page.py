"""The report as one file of HTML, which needs no network and no script."""

import json
from collections.abc import Iterator, Mapping, Sequence
from importlib.resources import files
from typing import Any, Final

from jinja2 import Environment, StrictUndefined

from rerank_proxy.relevance.evaluation.running import Evaluation
from rerank_proxy.relevance.numbers import number
from rerank_proxy.relevance.report.changed import changed_by
from rerank_proxy.relevance.report.plots import Plot
from rerank_proxy.relevance.report.tables import columns_of, rows_of, title
from rerank_proxy.relevance.report.words import findings_of, headline_of, notes_of

_MOST_QUERIES: Final = 500
EXPLAINED: Final = (
    (
        "nDCG",
        "from 0 to 1: 1 if the best documents come first, less the further down they are; grades count.",
    ),
    ("RR", "one divided by the place of the first document that answers; its mean over queries is MRR."),
    ("R@", "the share of all documents that answer which are among so many hits."),
    ("AP", "the mean precision at the places of the documents that answer."),
    ("P@", "the share of so many hits that answer."),
    ("Success", "1 if one of so many hits answers."),
)
"""What the measures mean, by the beginning of their names."""


def page_of(evaluation: Evaluation, document: Mapping[str, Any], plots: Sequence[Plot]) -> str:
    """Return the page.

    Args:
        document: The report as plain values.
        plots: Those that it shows.
    """
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["json"] = lambda value: json.dumps(value, indent=2, ensure_ascii=False)
    results = evaluation.results
    return environment.from_string(_resource("page.html.j2")).render(
        style=_style(),
        document=document,
        heading=f"Does reranking help? {evaluation.plan.index}",
        day=document["made"]["at"][:10],
        headline=headline_of(evaluation),
        columns=columns_of(evaluation),
        rows=rows_of(evaluation),
        compared=len(results.others),
        findings=findings_of(evaluation),
        notes=notes_of(evaluation),
        plots=plots,
        changed=changed_by(evaluation),
        measure=title(results.first),
        measured=[each.system.name for each in results.all if each.has_figures],
        queries=list(_queries(evaluation)),
        more_queries=len(results.queries) > _MOST_QUERIES,
        facts=list(facts_of(document)),
        explained=explained(results.measures),
    )


def facts_of(document: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield what was run, on what, and when."""
    made, queries = document["made"], document["queries"]
    client = made["client"]
    yield "Date", f"{made['at']}, {made['took_s']:g} s"
    yield "Index", f"{made['index']}, {made['documents']} documents"
    yield "Server", f"{made['url']}, Elasticsearch {made['elasticsearch']}"
    yield "Queries", f"{queries['measured']} measured of {queries['asked']} with judgments"
    yield "Judgments", f"{queries['judgments']}, from {', '.join(queries['files'])}"
    models = sorted({model for each in document["systems"] for model in each["models"]})
    if models:
        yield "Models", ", ".join(models)
    yield "Client", ", ".join(f"{name} {value}" for name, value in client.items())
    yield (
        "Load",
        f"{made['concurrency']} searches at once; {made['timed']} of each system timed, one at a time",
    )
    statistics = made["statistics"]
    yield (
        "Statistics",
        (
            f"paired randomisation and percentile bootstrap, {statistics['rounds']} rounds each, seed "
            f"{statistics['seed']}, correction after {statistics['correction']}"
        ),
    )


def explained(measures: Sequence[str]) -> list[tuple[str, str]]:
    """Return what those measures mean that have an explanation."""
    return [(title(name), text) for name in measures for begin, text in EXPLAINED if name.startswith(begin)]


def _queries(evaluation: Evaluation) -> Iterator[tuple[str, list[str]]]:
    results = evaluation.results
    shown = [each.values[results.first] for each in results.all if each.has_figures]
    for query in results.queries[:_MOST_QUERIES]:
        yield evaluation.material.paired.queries[query].text, [number(values[query]) for values in shown]


def _resource(name: str) -> str:
    return files(__package__).joinpath(name).read_text(encoding="utf-8")


def _style() -> Any:
    from markupsafe import Markup

    return Markup(_resource("page.css"))
