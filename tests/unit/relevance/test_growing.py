"""Files of lines that only grow: what was saved outlives a kill, a full disk and a second process."""

import errno
import os
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rerank_proxy.relevance.errors import RelevanceError
from rerank_proxy.relevance.growing import LineFile, read_lines
from rerank_proxy.relevance.judging.acts import Act, grades_of

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=5)
ACTS = st.lists(
    st.builds(Act, TEXTS, TEXTS, grade=st.none() | st.integers(0, 3), unsure=st.booleans()),
    min_size=1,
    max_size=6,
)


def opened(path: Path) -> LineFile[Act]:
    return LineFile(path, Act, "anna is judging already")


@given(ACTS, st.data())
def test_a_file_that_was_cut_at_any_byte_keeps_whole_acts(
    tmp_path_factory: pytest.TempPathFactory, acts: list[Act], data: st.DataObject
) -> None:
    path = tmp_path_factory.mktemp("acts") / "anna.jsonl"
    with opened(path) as file:
        for act in acts:
            file.add([act])
    content = path.read_bytes()
    cut = data.draw(st.integers(0, len(content)), label="cut")
    path.write_bytes(content[:cut])
    whole = acts[: content[:cut].count(b"\n")]
    assert read_lines(path, Act) == whole
    later = Act("later", "act", grade=1)
    with opened(path) as file:
        assert file.lines == whole
        file.add([later])
    assert read_lines(path, Act) == [*whole, later]
    assert content.startswith(path.read_bytes()[: -len(msgspec.json.encode(later)) - 1])


def test_only_one_process_has_a_file_open(tmp_path: Path) -> None:
    with opened(tmp_path / "anna.jsonl"), pytest.raises(RelevanceError, match="judging already"):
        opened(tmp_path / "anna.jsonl").__enter__()
    with opened(tmp_path / "anna.jsonl") as file:
        assert file.lines == []


def test_what_cannot_be_written_whole_is_not_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "anna.jsonl"
    first = Act("q", "1", grade=2)

    def full(descriptor: int, data: memoryview) -> int:
        if len(data) > 8:
            return write(descriptor, data[:8])
        raise OSError(errno.ENOSPC, "No space left on device")

    with opened(path) as file:
        file.add([first])
        write = os.write
        with monkeypatch.context() as patched:
            patched.setattr(os, "write", full)
            with pytest.raises(RelevanceError, match=r"anna\.jsonl: cannot be written: No space left"):
                file.add([Act("q", "2", grade=3)])
        assert file.lines == read_lines(path, Act) == [first]


@pytest.mark.parametrize(
    "line", ["{", '{"query": "q"}', '{"query": "q", "document": "d", "grade": "2"}', "[]"]
)
def test_a_damaged_line_is_named(tmp_path: Path, line: str) -> None:
    path = tmp_path / "anna.jsonl"
    path.write_text(f'{{"query":"q","document":"d"}}\n\n{line}\n')
    with pytest.raises(RelevanceError, match=r"anna\.jsonl, line 3: .*; mend or remove the line"):
        read_lines(path, Act)


def test_what_is_not_a_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RelevanceError, match="is a directory"):
        read_lines(tmp_path, Act)
    assert read_lines(tmp_path / "none.jsonl", Act) == []


def test_the_last_act_counts_and_can_be_taken_back() -> None:
    acts = [
        Act("q", "1", grade=1),
        Act("q", "2", grade=0),
        Act("q", "3", unsure=True),
        Act("q", "1", grade=3),
        Act("q", "2"),
    ]
    assert grades_of(acts) == {("q", "1"): 3, ("q", "3"): None}
