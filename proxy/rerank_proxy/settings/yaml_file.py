"""Read the YAML file of settings."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeGuard

import yaml

from rerank_proxy.settings.values import InvalidSettingsError, given_twice


def read_file(path: Path) -> tuple[dict[str, Any], list[str]]:
    """Return the settings of a file, and a line for each key that it gives more than once.

    Raises:
        InvalidSettingsError: The file cannot be read at all.
    """
    try:
        loader = yaml.SafeLoader(path.read_text(encoding="utf-8"))
        root = loader.get_single_node()
        twice = list(_twice(root, (), set()))  # before merge keys are replaced
        values = loader.construct_document(root) if root is not None else None
    except OSError as error:
        raise InvalidSettingsError(f"{path}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise InvalidSettingsError(f"{path}: is not UTF-8 text") from None
    except RecursionError:
        raise InvalidSettingsError(f"{path}: is nested too deeply") from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"{path}:{mark.line + 1}:{mark.column + 1}" if mark else str(path)
        problem = getattr(error, "problem", None) or "cannot be parsed"
        raise InvalidSettingsError(f"{where}: is not valid YAML: {problem}") from None
    except ValueError as error:  # a value that looks like a date or a number, and is none
        reason = str(error).partition(";")[0]
        raise InvalidSettingsError(f"{path}: holds a value that cannot be read: {reason}") from None
    if values is None:
        return {}, []
    if not _is_section(values):
        raise InvalidSettingsError(
            f"{path}: expected a mapping of settings, such as `listen: 127.0.0.1:9201`"
        )
    return values, [f"{path}:{fault}" for fault in twice]


def _is_section(values: object) -> TypeGuard[dict[str, Any]]:
    return isinstance(values, dict) and all(isinstance(key, str) for key in values)


def _twice(node: yaml.Node | None, above: tuple[str, ...], seen: set[int]) -> Iterator[str]:
    """Yield the keys that are given twice: YAML forbids it, but parsers silently take the last one."""
    if id(node) in seen:  # an alias, perhaps of a node above it
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
            yield f"{line}: {given_twice(name)}, first in line {first[key.tag, key.value]}"
        first.setdefault((key.tag, key.value), line)
        yield from _twice(value, name, seen)
