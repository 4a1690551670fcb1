"""Read the YAML file of settings, and keep where each of them stands.

Plain scalars are what YAML 1.2's core schema says, but a fraction has a point: `no`
and `off` are text, which a setting that is true or false understands as well, `010` is ten, and a date or a
commit such as `12e5` is text. Tags and objects of other kinds are refused, and so is what is too large,
too deep or too often repeated: no file takes more than seconds to read.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import yaml

from rerank_proxy.settings.values import MAX_DEPTH, InvalidSettingsError, given_twice

MAX_BYTES: Final = 1024 * 1024
"""The largest file."""
MAX_VALUES: Final = 20_000
"""The most values of a file, names included. What an alias stands for counts at each place where it
stands.
"""
_UNDER_WAY: Final = (0, 0)
_TAG: Final = "tag:yaml.org,2002:"
_MERGE: Final = _TAG + "merge"
_PROBLEMS: Final = {
    "found character '\\t' that cannot start any token": "a tab, where only blanks may stand",
    "second occurrence": "a name behind `&` that was given before; such a text needs quotes",
}
_QUOTING: Final = {
    "found undefined alias": "a name behind `*` that was not given before; such a text needs quotes",
    "duplicate tag handle": "a `%TAG` that was given before",
    "found undefined tag handle": "a tag that is not known; a text that begins with `!` needs quotes",
}
"""What is said in place of messages that begin so: they quote the file, of which any text may be a secret."""
_TAG_PROBLEM: Final = "has a tag that settings do not have; a text that begins with `!` needs quotes"


class _Loader(yaml.SafeLoader):
    """Reads the text; the scalars are read here, by their tags.

    It counts the values while it reads them: of many short ones, a file takes ten seconds to read.
    """

    _values = 0

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        self._values += 1
        if self._values > MAX_VALUES:
            raise _UnfitError(self.get_mark(), f"has more than {MAX_VALUES} values")
        node: yaml.Node | None = super().compose_node(parent, index)
        return node


_Loader.yaml_implicit_resolvers = {}


_PLAIN: Final = {
    "bool": (r"(?:true|True|TRUE|false|False|FALSE)\Z", "tTfF"),
    "null": (r"(?:~|null|Null|NULL|)\Z", ("~", "n", "N", "")),
    "int": (r"(?:[-+]?(?:0|[1-9][0-9]*)|0x[0-9a-fA-F]+|0o[0-7]+)\Z", "-+0123456789"),
    "float": (
        r"(?:[-+]?(?:[0-9]+\.[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))\Z",
        "-+0123456789.",
    ),
    "merge": (r"<<\Z", "<"),
}


class _Dumper(yaml.SafeDumper):
    """Writes a text in quotes if this module or another reader of YAML would take it for something else."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


for _name, (_pattern, _first) in _PLAIN.items():
    for _either in (_Loader, _Dumper):
        _either.add_implicit_resolver(_TAG + _name, re.compile(_pattern), list(_first))

_READERS: Final[Mapping[str, Callable[[str], Any]]] = {
    "str": str,
    "merge": str,
    "null": lambda _: None,
    "bool": lambda text: {"true": True, "false": False}[text.lower()],
    "int": lambda text: int(text, 0) if text[:2] in ("0x", "0o") else int(text),
    "float": lambda text: float(re.sub(r"\.(?=inf|nan)", "", text.lower())),
}


_Place = tuple[yaml.Mark, yaml.Node]


class _UnfitError(Exception):
    """A file is unfit. The message says where and what."""

    def __init__(self, mark: yaml.Mark, problem: str) -> None:
        super().__init__(f"{mark.line + 1}:{mark.column + 1}: {problem}")


@dataclass(frozen=True, slots=True)
class YamlFile:
    """The settings of a file.

    Attributes:
        values: The settings, nested as in the file.
        faults: A line for each fault of the file itself. If the file cannot be read, it is the only one.
    """

    path: Path
    values: dict[str, Any] = field(default_factory=dict)
    faults: tuple[str, ...] = ()
    root: yaml.Node | None = None
    _children: dict[int, dict[str, _Place]] = field(default_factory=dict)

    def place(self, key: Sequence[str]) -> str:
        """Return `FILE:LINE:COLUMN` of a key; of what is around it, where the file does not have it."""
        mark, node = None, self.root
        for part in key:
            if node is None:
                break
            if id(node) not in self._children:
                self._children[id(node)] = _children_by_name(node)
            found = self._children[id(node)].get(part)
            if found is None:
                break
            mark, node = found
        return str(self.path) if mark is None else f"{self.path}:{mark.line + 1}:{mark.column + 1}"


def read_file(path: Path) -> YamlFile:
    """Return the settings of a file.

    Raises:
        InvalidSettingsError: The file cannot be read at all.
    """
    try:
        with path.expanduser().open("rb") as file:  # any kind of file, such as the output of a command
            content = file.read(MAX_BYTES + 1)
        text = content.decode("utf-8-sig")
    except OSError as error:
        raise InvalidSettingsError(f"{path}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise InvalidSettingsError(f"{path}: is not UTF-8 text") from None
    except (ValueError, RuntimeError):  # what no file can be called, or a user whose home is not known
        raise InvalidSettingsError(f"{path}: cannot be read: it is not the name of a file") from None
    if len(content) > MAX_BYTES:
        raise InvalidSettingsError(f"{path}: is larger than {MAX_BYTES} bytes")
    try:
        return _parsed(path, text)
    except _UnfitError as error:
        raise InvalidSettingsError(f"{path}:{error}") from None
    except RecursionError:
        raise InvalidSettingsError(f"{path}: is nested too deeply") from None
    except yaml.reader.ReaderError as error:
        before = text[: error.position]
        where = f"{before.count(chr(10)) + 1}:{len(before) - before.rfind(chr(10))}"
        problem = f"holds a character that YAML does not allow: U+{error.character:04X}"
        raise InvalidSettingsError(f"{path}:{where}: {problem}") from None
    except yaml.MarkedYAMLError as failure:
        mark = failure.problem_mark or failure.context_mark
        where = f"{path}:{mark.line + 1}:{mark.column + 1}" if mark else str(path)
        raise InvalidSettingsError(f"{where}: is not valid YAML: {_told(failure)}") from None


def dump(values: Mapping[str, Any]) -> str:
    """Return a file with these settings."""
    return yaml.dump(dict(values), Dumper=_Dumper, sort_keys=False, allow_unicode=True)


def _told(failure: yaml.MarkedYAMLError) -> str:
    """Return what is wrong, without a piece of the file that is longer than a character."""
    problem = str(failure.problem or failure.context)
    quoting = (told for begin, told in _QUOTING.items() if problem.startswith(begin))
    return _PROBLEMS.get(problem) or next(quoting, problem)


def _parsed(path: Path, text: str) -> YamlFile:
    loader = _Loader(text)
    try:
        root = loader.get_single_node()
    except (ValueError, OverflowError) as error:  # of an escape in a quoted text
        raise _UnfitError(loader.get_mark(), f"is not valid YAML: {error}") from None
    finally:
        loader.dispose()
    if root is None or _is_null(root):
        return YamlFile(path)
    _measured(root, {})
    if not isinstance(root, yaml.MappingNode):
        raise _UnfitError(root.start_mark, "expected a mapping of settings, such as `listen: 127.0.0.1:9201`")
    twice = [f"{path}:{fault}" for fault in _twice(root, (), set())]
    values = _value(root, {})
    for key, _ in root.value:
        if not isinstance(_scalar(key), str):
            raise _UnfitError(key.start_mark, "expected a mapping of settings, whose names are text")
    return YamlFile(path, values, tuple(twice), root)


def _is_null(node: yaml.Node) -> bool:
    return isinstance(node, yaml.ScalarNode) and node.tag == _TAG + "null" and not node.value


def _children(node: yaml.Node) -> list[yaml.Node]:
    if isinstance(node, yaml.MappingNode):
        return [each for pair in node.value for each in pair]
    return list(node.value) if isinstance(node, yaml.SequenceNode) else []


def _measured(node: yaml.Node, known: dict[int, tuple[int, int]]) -> tuple[int, int]:
    """Return how many values a node is, with all that its aliases stand for, and how many levels deep.

    Raises:
        _UnfitError: It is too many, or a node is part of itself.
    """
    if id(node) in known:
        if known[id(node)] == _UNDER_WAY:
            raise _UnfitError(node.start_mark, "stands for something that it is a part of")
        return known[id(node)]
    known[id(node)] = _UNDER_WAY
    count, height = 1, 0
    for each in _children(node):
        more, below = _measured(each, known)
        count, height = count + more, max(height, below)
    if count > MAX_VALUES:
        raise _UnfitError(node.start_mark, f"stands for more than {MAX_VALUES} values")
    if height >= MAX_DEPTH:
        raise _UnfitError(node.start_mark, f"is nested more than {MAX_DEPTH} levels deep")
    known[id(node)] = count, height + 1
    return count, height + 1


def _value(node: yaml.Node, made: dict[int, Any]) -> Any:
    if isinstance(node, yaml.ScalarNode):
        return _scalar(node)
    if id(node) not in made:
        kind = "map" if isinstance(node, yaml.MappingNode) else "seq"
        if node.tag != _TAG + kind:
            raise _UnfitError(node.start_mark, _TAG_PROBLEM)
        if isinstance(node, yaml.SequenceNode):
            made[id(node)] = [_value(each, made) for each in node.value]
        if isinstance(node, yaml.MappingNode):
            made[id(node)] = {_scalar(key): _value(value, made) for key, value in _flat(node)}
    return made[id(node)]


def _scalar(node: yaml.Node) -> Any:
    if not isinstance(node, yaml.ScalarNode):
        raise _UnfitError(node.start_mark, "expected a name, which is text")
    kind = node.tag.removeprefix(_TAG)
    if kind not in _READERS:
        raise _UnfitError(node.start_mark, _TAG_PROBLEM)
    try:
        return _READERS[kind](node.value)
    except (ValueError, KeyError):  # more digits than Python reads, or a tag that does not fit
        raise _UnfitError(node.start_mark, f"holds what cannot be read as {kind}") from None


def _flat(node: yaml.MappingNode) -> Iterator[tuple[yaml.Node, yaml.Node]]:
    """Yield the keys and values of a mapping: first those that it merges (`<<`), the strongest last."""
    for key, value in node.value:
        if key.tag == _MERGE:
            merged = value.value if isinstance(value, yaml.SequenceNode) else [value]
            for each in reversed(merged):
                if not isinstance(each, yaml.MappingNode):
                    raise _UnfitError(each.start_mark, "expected a mapping to merge")
                yield from _flat(each)
    yield from ((key, value) for key, value in node.value if key.tag != _MERGE)


def _children_by_name(node: yaml.Node) -> dict[str, _Place]:
    """Return where the keys of a mapping or the items of a list stand, and their values."""
    if isinstance(node, yaml.SequenceNode):
        return {str(number): (item.start_mark, item) for number, item in enumerate(node.value)}
    if isinstance(node, yaml.MappingNode):
        return {str(_scalar(key)): (key.start_mark, value) for key, value in _flat(node)}
    return {}


def _twice(node: yaml.Node | None, above: tuple[str, ...], seen: set[int]) -> Iterator[str]:
    """Yield the keys that are given twice: YAML forbids it, but parsers silently take the last one."""
    if id(node) in seen:  # an alias
        return
    seen.add(id(node))
    if isinstance(node, yaml.SequenceNode):
        for item in node.value:
            yield from _twice(item, above, seen)
    if not isinstance(node, yaml.MappingNode):
        return
    first: dict[tuple[str, str], int] = {}
    for key, value in node.value:
        if not isinstance(key, yaml.ScalarNode):
            continue
        line, name = key.start_mark.line + 1, (*above, str(key.value))
        if (key.tag, key.value) in first:
            known = first[key.tag, key.value]
            yield f"{line}:{key.start_mark.column + 1}: {given_twice(name)}, first in line {known}"
        first.setdefault((key.tag, key.value), line)
        yield from _twice(value, name, seen)
