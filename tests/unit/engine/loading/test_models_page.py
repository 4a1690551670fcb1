"""docs/models.md: its families are those of the tests, and its files those of the code."""

import re

import pytest

from rerank_proxy.engine.loading.reading.checkpoint_files import FILES, CheckpointFile
from rerank_proxy.engine.loading.reading.templates import TEMPLATES
from tests.support import tiny_generating, tiny_models
from tests.support.pages import defined_tests, named_tests, read, table_after
from tests.support.project import ROOT

PAGE = ROOT / "docs" / "models.md"

WORDS = {
    **{kind: kind for kind in (*tiny_models.KINDS, *tiny_models.COUNTING)},
    "xlm-roberta": "XLM-RoBERTa",
    "deberta-v2": "DeBERTa-v2",
    "bigbird_pegasus": "BigBird-Pegasus",
    "nomic_bert": "NomicBERT",
}
"""How the page writes the kinds of the tests' encoders; case does not matter."""


def _rows(marker: str) -> list[list[str]]:
    lines = table_after(marker, PAGE).splitlines()[2:]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]


def _row(file: CheckpointFile) -> list[str]:
    keys = [f"`{key}`" + ("" if what == "read" else f" ({what})") for key, what in (file.keys or {}).items()]
    what = file.what + (f": {', '.join(keys)}" if keys else "")
    return [", ".join(f"`{name}`" for name in file.names), file.treatment, what]


def test_the_files_of_a_checkpoint() -> None:
    assert _rows("files") == [_row(file) for file in FILES]


def test_no_file_is_in_two_rows() -> None:
    names = [name for file in FILES for name in file.names]
    assert len(names) == len(set(names))


@pytest.mark.parametrize("row", _rows("families"), ids=lambda row: row[0][:30])
def test_each_family_names_its_test(row: list[str]) -> None:
    tests = list(named_tests(row[-1]))
    assert tests
    for file, test in tests:
        assert test in defined_tests(ROOT / file)


@pytest.mark.parametrize("kind", WORDS)
def test_each_encoder_of_the_tests_has_a_row(kind: str) -> None:
    families = " ".join(row[0] for row in _rows("families"))
    assert re.search(rf"\b{WORDS[kind]}\b", families, re.IGNORECASE)


@pytest.mark.parametrize("template", TEMPLATES)
def test_each_published_format_has_a_row(template: str) -> None:
    assert any(f"`{template}`" in row[0] for row in _rows("families"))


@pytest.mark.parametrize("kind", tiny_generating.KINDS)
def test_each_language_model_of_the_tests_is_named(kind: str) -> None:
    assert re.search(rf"\b{kind}\b", read(PAGE), re.IGNORECASE)
