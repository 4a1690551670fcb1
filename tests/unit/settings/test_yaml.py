"""What YAML has in store: nothing but settings or faults comes of it, soon."""

from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from rerank_proxy.settings import InvalidSettingsError, Settings, load, table
from rerank_proxy.settings.loading import MAX_FAULTS
from rerank_proxy.settings.values import MAX_DEPTH
from rerank_proxy.settings.yaml_file import MAX_BYTES, MAX_VALUES, read_file
from tests.support.examples import examples
from tests.unit.settings.refusals import refusal

LAUGHS = "\n".join(
    ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    + [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 12)]
)
MERGED_LAUGHS = "\n".join(
    ["a0: &a0 {x: 1, y: 2}"]
    + [f"a{n}: &a{n} {{<<: [{', '.join([f'*a{n - 1}'] * 9)}]}}" for n in range(1, 12)]
)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (LAUGHS, f":5:5: stands for more than {MAX_VALUES} values"),
        (MERGED_LAUGHS, f":5:14: stands for more than {MAX_VALUES} values"),
        ("a: &a [*a]", ":1:4: stands for something that it is a part of"),
        ("a: &a {<<: *a}", ":1:4: stands for something that it is a part of"),
        ("a: " + "[" * (MAX_DEPTH + 1) + "]" * (MAX_DEPTH + 1), f" nested more than {MAX_DEPTH} levels deep"),
        ("[" * 5000, ": is nested too deeply"),
        ("a: 1\n\tb: 2", ":2:1: is not valid YAML: a tab, where only blanks may stand"),
        ("a: 1\nb: \x07", ":2:4: holds a character that YAML does not allow: U+0007"),
        ("a: *b", ":1:4: is not valid YAML: a name behind `*` that was not given before; such a text"),
        ("a: [&b x, &b y]", ":1:11: is not valid YAML: a name behind `&` that was given before"),
        ("--- {}\n--- {}", ":2:1: is not valid YAML: but found another document"),
        ("a: !!python/object:os.x x", ":1:4: has a tag that settings do not have; a text that begins"),
        ("a: !mine x", ":1:4: has a tag that settings do not have; a text that begins"),
        ("a: !!set {x}", ":1:4: has a tag that settings do not have; a text that begins"),
        ("a: !!timestamp x", ":1:4: has a tag that settings do not have; a text that begins"),
        ("a: !!bool x", ":1:4: holds what cannot be read as bool"),
        ("a: !!int ''", ":1:4: holds what cannot be read as int"),
        ("a: !!float [x]", ":1:4: has a tag that settings do not have; a text that begins"),
        ('a: "\\UFFFFFFFF"', ": is not valid YAML: "),
        ("? [a]\n: b", ":1:3: expected a name, which is text"),
        ("a: {<<: x}", ":1:9: expected a mapping to merge"),
        ("a: {<<: [{}, x]}", ":1:14: expected a mapping to merge"),
        ("- a", ":1:1: expected a mapping of settings"),
        ("%YAML 9.9\n---\na: b", ": is not valid YAML: found incompatible YAML document"),
        ("x" * (MAX_BYTES + 1), f": is larger than {MAX_BYTES} bytes"),
    ],
)
def test_files_that_are_refused(config: Path, text: str, message: str) -> None:
    config.write_text(text)
    fault = refusal(config=config)
    assert fault.startswith(str(config))
    assert message in fault


def test_a_file_that_cannot_be_read_does_not_hide_the_faults_of_other_sources(config: Path) -> None:
    config.write_text("listen: [")
    with pytest.raises(InvalidSettingsError) as raised:
        load(config, environ={"RERANK_PROXY_LISTN": "x"}, secrets_dir=config.parent / "absent")
    assert [fault.rpartition("/")[2].partition(":")[0] for fault in raised.value.faults] == [
        config.name,
        "absent",
        "RERANK_PROXY_LISTN",
    ]


@pytest.mark.parametrize("text", ["*geheim", "!geheim", "!geheim!x", "&geheim &x", "!<geheim> x", "@geheim"])
def test_a_secret_that_needs_quotes_and_has_none_is_not_told(config: Path, text: str) -> None:
    config.write_text(f"upstream:\n  url: http://127.0.0.1:9200\n  password: {text}\n")
    fault = refusal(config=config)
    assert f"{config}:3:" in fault
    assert "geheim" not in fault


@pytest.mark.parametrize("text", ["a: [{}]", "{{{}}}", "a: [&b x, {}]"])
def test_a_file_of_too_many_values_is_not_read_to_its_end(config: Path, text: str) -> None:
    item = "*b," if "&b" in text else "a,"
    config.write_text(text.format(item * MAX_VALUES + '"'))  # what follows is no YAML
    assert refusal(config=config).endswith(f"has more than {MAX_VALUES} values")


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("no", "no"),
        ("off", "off"),
        ("Yes", "Yes"),
        ("y", "y"),
        ("true", True),
        ("FALSE", False),
        ("", None),
        ("~", None),
        ("null", None),
        ("010", "010"),
        ("0o10", 8),
        ("0x10", 16),
        ("-7", -7),
        ("1_000", "1_000"),
        ("22:30", "22:30"),
        ("9201:30:1.5", "9201:30:1.5"),
        ("1.5", 1.5),
        ("-.inf", float("-inf")),
        ("12e5", "12e5"),
        ("1.0e3", 1000.0),
        ("2024-13-01", "2024-13-01"),
        ("!!str 5", "5"),
        ("!!int '5'", 5),
        ("<<", "<<"),
        ("=", "="),
        ("'a\tb'", "a\tb"),
    ],
)
def test_scalars(tmp_path: Path, text: str, value: Any) -> None:
    path = tmp_path / "file.yaml"
    path.write_text(f"a: {text}\n")
    (read,) = read_file(path).values.values()
    assert (type(read), read) == (type(value), value)


@pytest.mark.parametrize(("text", "value"), [("no", False), ("off", False), ("yes", True), ("on", True)])
def test_words_that_settings_take_for_true_or_false(config: Path, text: str, value: bool) -> None:
    config.write_text(f"engine: {{offline: {text}}}\nmodels: {{m: {{source: {text}}}}}")
    settings = load(config, environ={})
    assert (settings.engine.offline, settings.models["m"].source) == (value, text)


def test_ten_with_a_zero_before_it(config: Path) -> None:
    config.write_text("engine: {threads: 010}")
    assert load(config, environ={}).engine.threads == 10


def test_a_byte_order_mark_is_not_part_of_the_first_key(config: Path) -> None:
    config.write_bytes(b"\xef\xbb\xbflisten: 127.0.0.1:1\n")
    assert str(load(config, environ={}).listen) == "127.0.0.1:1"


def test_what_is_merged_gives_way_and_has_its_own_place(config: Path) -> None:
    config.write_text(
        "models:\n"
        "  a: &a {source: s, preload: maybe}\n"
        "  b: &b {revision: r, max_length: 0}\n"
        "  c: {<<: [*a, *b], source: t, max_length: 5}\n"
        "  d: {<<: *a, preload: true}\n"
    )
    with pytest.raises(InvalidSettingsError) as raised:
        load(config, environ={})
    places = {(fault.split(": ")[1], fault.split(": ")[0].partition(":")[2]) for fault in raised.value.faults}
    assert places == {
        ("[models.a.preload]", "2:21"),
        ("[models.b.max_length]", "3:23"),
        ("[models.b.source] is required", "3:3"),
        ("[models.c.preload]", "2:21"),
    }
    values = read_file(config).values["models"]
    assert values["c"] == {"source": "t", "preload": "maybe", "revision": "r", "max_length": 5}
    assert values == yaml.safe_load(config.read_text())["models"]


def test_no_more_faults_than_one_can_mend(config: Path) -> None:
    config.write_text("\n".join(f"wrong{number}: x" for number in range(3000)))
    with pytest.raises(InvalidSettingsError) as raised:
        load(config, environ={})
    *faults, last = raised.value.faults
    assert len(faults) == MAX_FAULTS
    assert last.startswith("there are further faults")


def load_bytes(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    with suppress(InvalidSettingsError):
        load(path, environ={})


SIGNS = ": |- |, |[|]|{|}|\n|\n  |\n    |&a |*a|<<: |? |!!int |!!bool |!!binary |!x |%|#|'|\"|\\|\t|>"
PLAIN = "---\n|...\n|\ufeff|\x85|\u2028|\ud7ff|\U0010ffff|~|null|no|0x|0o7|010|.inf|-|1_0|1:1:1.5"
PIECES = st.sampled_from(
    [
        *(row.path[-1] for row in table()),
        *(row.path[0] for row in table()),
        *SIGNS.split("|"),
        *PLAIN.split("|"),
        "|\n",
        "9" * 5000,
        "1:" * 300 + "1.5",
        "9" * 400,
        "/dev/null",
        "http://h",
        "\\ud800",
    ]
)


@given(st.lists(PIECES, max_size=30))
@examples(5)
def test_any_text_is_settings_or_faults(tmp_path_factory: Any, pieces: list[str]) -> None:
    load_bytes(tmp_path_factory.getbasetemp() / "any.yaml", "".join(pieces).encode())


@given(st.binary(max_size=200))
def test_any_bytes_are_settings_or_faults(tmp_path_factory: Any, content: bytes) -> None:
    load_bytes(tmp_path_factory.getbasetemp() / "any.yaml", content)


NASTY = [
    "9" * 400,
    "-" + "9" * 400,
    "1e400",
    ".nan",
    "x" * 5000,
    "\ud800",
    "a\0b",
    "1KiB" * 100,
    "9" * 400 + "GiB",
]
SCALARS = (
    st.sampled_from(NASTY)
    | st.text()
    | st.integers()
    | st.floats()
    | st.none()
    | st.booleans()
    | st.sampled_from([10**400, -(10**400)])
)


@given(st.data())
@examples(3)
def test_any_value_of_any_setting_is_one_or_a_fault(data: st.DataObject) -> None:
    row = data.draw(st.sampled_from(list(table())))
    value: Any = data.draw(SCALARS | st.lists(SCALARS, max_size=3) | st.dictionaries(st.text(), SCALARS))
    for part in reversed(row.path):
        value = {part: value}
    with suppress(InvalidSettingsError):
        assert isinstance(load(None, value, {}), Settings)
