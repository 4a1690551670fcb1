"""Titles of documents as queries: what they ask for is much like what is asked, and costs no judgments."""

from dataclasses import replace
from typing import Final

from rerank_proxy.relevance.judgments import Query
from rerank_proxy.relevance.training.examples import drawn
from rerank_proxy.relevance.training.material import Material
from rerank_proxy.relevance.training.splitting import same_text

WINDOW: Final = 20
"""Hits of the first stage for a title, whose scores a cross-encoder learns."""
_MOST_WORDS: Final = 64
"""What is longer is a text, and more than a search is meant for."""


def with_titles(material: Material, most: int, seed: int) -> Material:
    """Keep those titles that can be learned from: as many as are wanted, drawn by the seed.

    Titles that are a query of the material are left out, so that none that is held out is trained with.
    """
    asked = {same_text(query.text) for query in material.queries.values()}
    fit = [
        name
        for name, title in sorted(material.titles.items())
        if name in material.texts
        and len(title.split()) <= _MOST_WORDS
        and same_text(title) not in asked
        and same_text(title) != same_text(material.texts[name])
    ]
    return replace(
        material, titles={name: material.titles[name] for name in drawn(fit, most, f"{seed}:titles")}
    )


def queries_of(material: Material) -> dict[str, Query]:
    """Return a query for each different title, by the id of a document that has it."""
    different = {same_text(title): name for name, title in sorted(material.titles.items(), reverse=True)}
    return {name: Query(name, material.titles[name]) for name in sorted(different.values())}
