"""Settings that are read again."""

from typing import Any

import pytest

from rerank_proxy.settings import InvalidSettingsError, Settings, load, reload, table


def read(**values: Any) -> Settings:
    return load(None, values, {})


def test_nothing_changed() -> None:
    settings = read(models={"m": "/m"}, endpoints={"e": "m"})
    outcome = reload(settings, read(models={"m": "/m"}, endpoints={"e": "m"}))
    assert (outcome.settings, outcome.changed, outcome.left) == (settings, (), ())


def test_what_takes_a_restart_keeps_its_value() -> None:
    running = read(models={"m": "/m"}, edge={"max_head": "8KiB"})
    outcome = reload(
        running,
        read(
            models={"m": "/n"},
            listen="127.0.0.1:1",
            edge={"max_head": "9KiB"},
            endpoints={"e": "m"},
            log={"level": "debug"},
        ),
    )
    assert outcome.changed == ("endpoints", "edge.max_head", "log.level")
    assert outcome.left == ("listen", "models")
    assert outcome.settings == read(
        models={"m": "/m"}, edge={"max_head": "9KiB"}, endpoints={"e": "m"}, log={"level": "debug"}
    )


def test_endpoint_of_a_new_model() -> None:
    with pytest.raises(InvalidSettingsError, match=r"\[endpoints\.e\.model\]: the model \[n\] is new"):
        reload(read(models={"m": "/m"}), read(models={"n": "/n"}, endpoints={"e": "n"}))


@pytest.mark.parametrize("section", ["search", "edge", "lifecycle", "async_search"])
def test_each_number_that_is_reloaded(section: str) -> None:
    for row in table():
        if row.path[0] != section or not row.reloaded or isinstance(row.default, bool):
            continue
        outcome = reload(read(), read(**{section: {row.path[1]: row.default + 1}}))
        assert outcome.changed == (row.key,)
        assert getattr(getattr(outcome.settings, section), row.path[1]) == row.default + 1
