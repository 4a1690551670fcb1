import pytest
from hypothesis import given
from hypothesis import strategies as st

from rerank_proxy.files.names import without_directories


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[/models/mini lm/]: no config.json", "[mini lm]: no config.json"),
        ("[~/models/x] has no package [x]", "[x] has no package [x]"),
        ("[Errno 2] No such file: '/srv/a b/config.json'", "[Errno 2] No such file: 'config.json'"),
        ('cannot open "/srv/a/b"', 'cannot open "b"'),
        ("/var/lib/x/registry.json: Permission denied", "registry.json: Permission denied"),
        ("another process has held /a/b.lock for 5 s", "another process has held b.lock for 5 s"),
        ("error in (/a/b/c.py, /a/d.py)", "error in (c.py, d.py)"),
        ("open /etc", "open etc"),
        ("no directory [BAAI/bge-reranker]", "no directory [BAAI/bge-reranker]"),
        ("[https://h/a/b] was answered 404", "[https://h/a/b] was answered 404"),
        ("see https://h.example:80/a/b?c=/d", "see https://h.example:80/a/b?c=/d"),
        ("and/or, 1/2, application/json", "and/or, 1/2, application/json"),
        ("a / b", "a / b"),
        ("[models/x] is relative", "[models/x] is relative"),
    ],
)
def test_files_are_named_and_not_placed(text: str, told: str) -> None:
    assert without_directories(text) == told


PARTS = st.lists(st.text("abc.-_ é", min_size=1, max_size=5), min_size=2, max_size=4)


@given(PARTS)
def test_no_directory_is_left(parts: list[str]) -> None:
    path = "/".join(["", *(f"x{part}" for part in parts)])
    for text in (f"[{path}] is bad", f"failed: '{path}'", f'it says "{path}"'):
        assert f"/{'/'.join(path.split('/')[1:-1])}" not in without_directories(text)
        assert path.rpartition("/")[2] in without_directories(text)
