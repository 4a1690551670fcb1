"""The settings of clicks and comparisons."""

from typing import Any

import pytest

from rerank_proxy.settings import InvalidSettingsError, Settings, load, reload
from rerank_proxy.settings.effective import HIDDEN, changed


def read(**online: Any) -> Settings:
    return load(None, {"online": online}, {})


@pytest.mark.parametrize(
    ("online", "fault"),
    [
        ({"shadow_share": 1.5}, r"online\.shadow_share"),
        ({"interleave_share": -0.1}, r"online\.interleave_share"),
        ({"interleave_share": "nan"}, r"online\.interleave_share"),
        ({"shadow_indices": "films, Books"}, r"online\.shadow_indices"),
        ({"interleave_indices": ["a b"]}, "names of indices"),
        ({"max_searches": 0}, r"online\.max_searches"),
        ({"keep_s": 0}, r"online\.keep_s"),
        ({"seed": "x" * 65}, "at most 64 bytes"),
        ({"seed": "ü" * 33}, "at most 64 bytes"),
        ({"seed": ""}, "must not be empty"),
        ({"interleave_with": ""}, "must not be empty"),
    ],
)
def test_what_is_wrong_is_named(online: dict[str, Any], fault: str) -> None:
    with pytest.raises(InvalidSettingsError, match=fault):
        read(**online)


def test_lists_may_be_texts() -> None:
    assert read(shadow_indices="films*, books").online.shadow_indices == ("films*", "books")


def test_the_seed_is_a_secret() -> None:
    """Who knows it knows the draw of every search: neither a page nor a log shows it."""
    settings = read(seed="unguessed")
    assert "unguessed" not in repr(settings) + settings.model_dump_json()
    assert [*changed(settings)] == [("online.seed", HIDDEN, None)]


def test_all_but_the_seed_changes_at_once() -> None:
    other = read(
        enabled=True, max_searches=5, max_bytes="1MiB", keep_s=60, seed="x", shadow_share=0.5,
        shadow_indices="a", shadow_at_once=1, interleave_share=0.5, interleave_indices="b",
        interleave_with="e",
    )  # fmt: skip
    outcome = reload(read(), other)
    assert outcome.left == ("online.seed",)
    assert len(outcome.changed) == 10
    assert outcome.settings.online == other.online.model_copy(update={"seed": None})
