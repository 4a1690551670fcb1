"""The base of a training: which kind it is, and what others know it by."""

from pathlib import Path

import pytest

from rerank_proxy.relevance.training.bases import name_of


@pytest.mark.parametrize(
    ("folder", "card", "name"),
    [
        ("all-MiniLM-L6-v2", None, "all-MiniLM-L6-v2"),
        ("model", "---\ntags: [a]\n---\n\n# all-MiniLM-L6-v2\nThis is\n\n# Usage-1\n", "all-MiniLM-L6-v2"),
        ("mine", "# Usage\n\n# all-MiniLM-L6-v2\n", "mine"),
        ("mine", "# SentenceTransformer based on a/b\n", "mine"),
        ("models--cross-encoder--ms-marco-MiniLM/snapshots/c5ee24c", None, "cross-encoder/ms-marco-MiniLM"),
        ("models--gpt2/snapshots/c5ee24c", None, "gpt2"),
    ],
)
def test_the_name_of_a_model_does_not_tell_where_it_is(
    tmp_path: Path, folder: str, card: str | None, name: str
) -> None:
    directory = tmp_path / folder
    directory.mkdir(parents=True)
    if card is not None:
        (directory / "README.md").write_text(card)
    assert name_of(directory) == name
