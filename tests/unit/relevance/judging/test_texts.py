"""What a judge reads of a document, whatever its fields hold."""

from typing import Any

import pytest

from rerank_proxy.relevance.errors import RelevanceError
from rerank_proxy.relevance.judging.endpoint_judge import PROMPT, prompt_of
from rerank_proxy.relevance.judging.texts import MAX_CHARACTERS, body_of, document_of, joined
from rerank_proxy.relevance.judging.workspace import SCALE
from rerank_proxy.relevance.templates import filled


def shown(fields: dict[str, Any], *chosen: str) -> list[tuple[str, str]]:
    return [(field.name, field.text) for field in document_of(fields, chosen)]


@pytest.mark.parametrize(
    ("values", "text"),
    [
        (["one", "two"], "one\ntwo"),
        ([1, 2.5, True, None], "1\n2.5\ntrue"),
        ([{"first": ["Jane"], "last": ["Doe", "Roe"]}], "first: Jane\nlast: Doe, Roe"),
        ([[["deep"]]], "deep"),
    ],
)
def test_values_become_text(values: Any, text: str) -> None:
    assert shown({"field": values}, "field") == [("field", text)]


def test_fields_stand_in_the_order_in_which_they_were_chosen() -> None:
    fields = {"plot": ["p"], "title": ["t"], "genre.raw": ["g"], "empty": [" "]}
    assert shown(fields, "title", "plot", "genre.*", "empty", "none") == [
        ("title", "t"),
        ("plot", "p"),
        ("genre.raw", "g"),
    ]


def test_an_object_is_shown_by_its_members_and_no_text_twice() -> None:
    """Its name gives no value. A field within another one is the same text, for other searches."""
    fields = {
        "meta.tags": ["x", "y"],
        "meta.title": ["t"],
        "meta.title.raw": ["t"],
        "plot.raw": ["p"],
        "plot": ["p"],
    }
    assert shown(fields, "plot", "meta") == [("plot", "p"), ("meta.tags", "x\ny"), ("meta.title", "t")]
    assert body_of(["1"], ["plot", "meta"])["fields"] == ["plot", "meta", "plot.*", "meta.*"]


def test_a_long_text_is_shortened_and_its_length_is_said() -> None:
    document = document_of({"plot": ["x" * (MAX_CHARACTERS + 5)]}, ["plot"])
    assert (len(document[0].text), document[0].characters) == (MAX_CHARACTERS, MAX_CHARACTERS + 5)


def test_an_endpoint_gets_all_fields_as_one_text() -> None:
    assert joined(document_of({"title": ["t"], "plot": ["p", "q"]}, ["title", "plot"])) == "t\np\nq"
    assert joined(document_of({}, ["title"])) == ""


def test_a_prompt_is_filled_once() -> None:
    """What documents and queries hold is not searched for further places."""
    values = {"query": "{{document}}", "document": "{{query}}"}
    assert filled("{{query}}|{{document}}|{{query}}", values) == "{{document}}|{{query}}|{{document}}"
    assert "3: the document is what was looked for" in prompt_of(None, SCALE)
    assert prompt_of("{{query}} {{document}}", SCALE) == "{{query}} {{document}}"
    assert "{{scale}}" in PROMPT
    for prompt in ("{{query}}", "{{document}}"):
        with pytest.raises(RelevanceError, match=r"has no \{\{"):
            prompt_of(prompt, SCALE)
