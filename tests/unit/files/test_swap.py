"""A directory takes another one's place, and one of both is there at every moment."""

from pathlib import Path

import pytest

from rerank_proxy.files import swap


def directories(tmp_path: Path) -> tuple[Path, Path]:
    new, place = tmp_path / "new", tmp_path / "place"
    for directory in (new, place):
        directory.mkdir()
        (directory / "name").write_text(directory.name)
    return new, place


@pytest.mark.parametrize("exchanged", [True, False])
def test_it_takes_the_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, exchanged: bool) -> None:
    if not exchanged:
        monkeypatch.setattr(swap, "_exchanged", lambda one, other: False)
    new, place = directories(tmp_path)
    swap.take_place(new, place)
    assert (place / "name").read_text() == "new"
    assert [*tmp_path.iterdir()] == [place]


def test_a_place_that_is_free(tmp_path: Path) -> None:
    new, place = directories(tmp_path)
    swap.take_place(new, tmp_path / "free")
    assert (tmp_path / "free" / "name").read_text() == "new"
    assert place.exists()


def test_what_a_process_that_died_in_between_has_left_is_put_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    new, place = directories(tmp_path)
    rename = Path.rename

    def dies(self: Path, target: Path) -> Path:
        if self == new:
            raise KeyboardInterrupt
        return rename(self, target)

    monkeypatch.setattr(swap, "_exchanged", lambda one, other: False)
    monkeypatch.setattr(Path, "rename", dies)
    with pytest.raises(KeyboardInterrupt):
        swap.take_place(new, place)
    assert not place.exists()
    swap.restore(place)
    assert (place / "name").read_text() == "place"
    swap.restore(place)
    assert (new / "name").read_text() == "new"


def test_what_cannot_be_renamed_leaves_the_former_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, place = directories(tmp_path)
    monkeypatch.setattr(swap, "_exchanged", lambda one, other: False)
    with pytest.raises(OSError, match="absent"):
        swap.take_place(tmp_path / "absent", place)
    assert (place / "name").read_text() == "place"
