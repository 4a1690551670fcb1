"""What was answered is found again, also after a process was killed while it wrote."""

from pathlib import Path

import pytest

from rerank_proxy.relevance.errors import RelevanceError
from rerank_proxy.relevance.journal import Entry, Journal, key_of


def opened(path: Path, *, fresh: bool = False) -> Journal[list[float]]:
    return Journal(path, Entry[list[float]], "another one is using it", fresh=fresh)


def test_answers_are_found_again(tmp_path: Path) -> None:
    path = tmp_path / "work" / "scores.jsonl"
    key = key_of("large", "a query", ["one", "two"])
    with opened(path) as journal:
        assert journal.get(key) is None
        journal.add(key, [0.1, -3e-9], endpoint="large")
    with opened(path) as journal:
        assert journal.get(key) == [0.1, -3e-9]
        assert journal.get(key_of("large", "a query", ["two", "one"])) is None
    assert b'"about":{"endpoint":"large"}' in path.read_bytes()
    with opened(path, fresh=True) as journal:
        assert journal.get(key) is None
    assert path.read_bytes() == b""


@pytest.mark.parametrize("rest", [b'{"key": "x", "ans', b'{"key": "x", "answer": [1.0]}', b"\xff"])
def test_a_line_that_was_being_written_is_cut_off(tmp_path: Path, rest: bytes) -> None:
    path = tmp_path / "scores.jsonl"
    with opened(path) as journal:
        journal.add("whole", [1.0])
    whole = path.read_bytes()
    path.write_bytes(whole + rest)
    with opened(path) as journal:
        assert journal.get("whole") == [1.0]
        assert journal.get("x") is None
        assert path.read_bytes() == whole
        journal.add("next", [2.0])
    with opened(path) as journal:
        assert journal.get("next") == [2.0]


def test_files_that_cannot_be_used(tmp_path: Path) -> None:
    path = tmp_path / "scores.jsonl"
    with opened(path), pytest.raises(RelevanceError, match="another one is using it"), opened(path):
        pass
    path.write_bytes(b'{"key": "x", "answer": "none"}\n')
    with pytest.raises(RelevanceError, match=r"scores\.jsonl, line 1: .*; remove the line"), opened(path):
        pass
    (tmp_path / "file").write_text("")
    with pytest.raises(RelevanceError, match="cannot be written"), opened(tmp_path / "file" / "scores"):
        pass
