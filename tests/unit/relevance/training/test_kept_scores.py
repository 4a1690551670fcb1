"""Scores that were paid for are found again, also after a process was killed while it wrote."""

from pathlib import Path

import pytest

from rerank_proxy.relevance.errors import RelevanceError
from rerank_proxy.relevance.training.kept_scores import KeptScores, key_of


def test_they_are_found_again(tmp_path: Path) -> None:
    path = tmp_path / "work" / "scores.jsonl"
    key = key_of("large", "a query", ["one", "two"])
    with KeptScores(path) as kept:
        assert kept.get(key) is None
        kept.add(key, [0.1, -3e-9])
    with KeptScores(path) as kept:
        assert kept.get(key) == [0.1, -3e-9]
        assert kept.get(key_of("large", "a query", ["two", "one"])) is None


@pytest.mark.parametrize("rest", [b'{"key": "x", "sco', b'{"key": "x", "scores": [1.0]}', b"\xff\n"])
def test_a_line_that_was_being_written_is_cut_off(tmp_path: Path, rest: bytes) -> None:
    path = tmp_path / "scores.jsonl"
    with KeptScores(path) as kept:
        kept.add("whole", [1.0])
    whole = path.read_bytes()
    path.write_bytes(whole + rest)
    with KeptScores(path) as kept:
        assert kept.get("whole") == [1.0]
        assert kept.get("x") is None
        assert path.read_bytes() == whole
        kept.add("next", [2.0])
    with KeptScores(path) as kept:
        assert kept.get("next") == [2.0]


def test_a_file_that_cannot_be_used(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RelevanceError, match="cannot be used"), KeptScores(tmp_path / "file" / "scores"):
        pass
