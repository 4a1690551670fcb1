"""Parse the `chunk_rescorer` object, with Elasticsearch's error messages.

The rules are those of ``ChunkScorerConfig``, ``ChunkingSettingsBuilder`` and the settings of each strategy.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from rerank_proxy.chunks.settings import (
    MAX_SEPARATORS,
    PLAINTEXT_SEPARATORS,
    SEPARATOR_GROUPS,
    ChunkingSettings,
    ChunkRescorer,
    NoneChunkingSettings,
    RecursiveChunkingSettings,
    SentenceBoundaryChunkingSettings,
    WordBoundaryChunkingSettings,
    default_chunking,
)
from rerank_proxy.errors import Cause
from rerank_proxy.xcontent.faults import ParseError
from rerank_proxy.xcontent.java_values import class_name, copied_hash_map_order, print_java, read
from rerank_proxy.xcontent.object_parser import (
    INT,
    Field,
    illegal_argument,
    parse_object,
    x_content_error,
)
from rerank_proxy.xcontent.source import NULL, OBJECT, Node

_NAME: Final = "chunk_rescorer"
_LEAST_SENTENCE_SIZE: Final = 20
_LEAST_SIZE: Final = 10
_DEFAULT_SIZE: Final = 300
_JAVA_BLANK: Final = "".join(map(chr, range(0x21)))


def parse_chunk_rescorer(node: Node) -> ChunkRescorer:
    """Read the object at `chunk_rescorer`. Ignores unknown keys.

    `size` is not checked here but by `ChunkRescorer.check`.

    Raises:
        ParseError: As ``ConstructingObjectParser`` reports it, to be wrapped by the enclosing object.
    """
    values = parse_object(node, _NAME, _FIELDS, ignore_unknown=True)
    try:
        chunking = _chunking(values.get("chunking_settings"))
    except ParseError as failure:
        raise _build_error(node, failure.cause) from None
    return ChunkRescorer(values.get("size", 1), chunking)


def _build_error(node: Node, cause: Cause) -> ParseError:
    """Return the error of building the object: at its end, or at the last key that the parser waits for."""
    reason = f"Failed to build [{_NAME}] after last required field arrived"
    built = Cause("x_content_parse_exception", reason, caused_by=cause)
    known = [(name, member) for name, member in node.members.items() if name in _FIELDS]
    if len(known) < len(_FIELDS):
        return ParseError(built, node.last_token())
    name, last = known[-1]
    return x_content_error(node, last.last_token(), f"[{_NAME}] failed to parse field [{name}]", built)


_FIELDS: Final[Mapping[str, Field]] = {
    "size": INT,
    "chunking_settings": Field(frozenset({OBJECT, NULL}), read),
}


def _chunking(settings: Mapping[str, Any] | None) -> ChunkingSettings | None:
    """Read the settings as ``ChunkScorerConfig#chunkingSettingsFromMap`` does."""
    if not settings:
        return None
    if list(settings) == ["max_chunk_size"]:
        return _sentences_of(settings["max_chunk_size"])
    if "strategy" not in settings:
        raise illegal_argument("Can't generate Chunker without ChunkingStrategy provided")
    if settings["strategy"] is None:
        what = '"Object.toString()" because the return value of "java.util.Map.get(Object)" is null'
        raise ParseError(Cause("null_pointer_exception", f"Cannot invoke {what}"))
    strategy = print_java(settings["strategy"])
    if strategy not in _STRATEGIES:
        raise illegal_argument(f"Invalid chunkingStrategy {strategy}")
    return _STRATEGIES[strategy](settings)


def _sentences_of(size: Any) -> ChunkingSettings:
    """Return the default settings with another size."""
    if size is None:
        return default_chunking(_DEFAULT_SIZE)
    if not _is_integer(size):
        name = class_name(size)
        reason = (
            f"class {name} cannot be cast to class java.lang.Integer ({name} and java.lang.Integer are in "
            "module java.base of loader 'bootstrap')"
        )
        raise ParseError(Cause("class_cast_exception", reason))
    if size < _LEAST_SENTENCE_SIZE:
        raise _validation_error([f"max_chunk_size [{size}] must be above {_LEAST_SENTENCE_SIZE}"])
    return default_chunking(size)


def _none(_: Mapping[str, Any]) -> NoneChunkingSettings:
    return NoneChunkingSettings()


def _by_words(settings: Mapping[str, Any]) -> WordBoundaryChunkingSettings:
    problems = list(_unknown_keys(settings, "Word based", ("max_chunk_size", "overlap")))
    size = _size(settings, _LEAST_SIZE, problems)
    overlap = _overlap(settings, size // 2, problems) if size is not None else None
    _refuse(problems)
    assert size is not None
    assert overlap is not None
    return WordBoundaryChunkingSettings(size, overlap)


def _by_sentences(settings: Mapping[str, Any]) -> SentenceBoundaryChunkingSettings:
    problems = list(_unknown_keys(settings, "Sentence based", ("max_chunk_size", "sentence_overlap")))
    size = _size(settings, _LEAST_SENTENCE_SIZE, problems)
    overlap = _integer(settings, "sentence_overlap", problems)
    if overlap is not None and overlap not in (0, 1):
        problems.append(f"sentence_overlap[{overlap}] must be either 0 or 1")
    _refuse(problems)
    assert size is not None
    return SentenceBoundaryChunkingSettings(size, 1 if overlap is None else overlap)


def _recursive(settings: Mapping[str, Any]) -> RecursiveChunkingSettings:
    keys = ("max_chunk_size", "separator_group", "separators")
    problems = list(_unknown_keys(settings, "Recursive", keys))
    size = _size(settings, _LEAST_SIZE, problems)
    group = _separator_group(settings, problems)
    separators = _separators(settings, problems)
    if group is not None and separators is not None:
        problems.append("Recursive chunking settings can not have both separators and separator_set")
    if group is not None:
        separators = SEPARATOR_GROUPS[group]
    elif separators is not None and not separators:
        problems.append("Recursive chunking settings can not have an empty list of separators")
    elif separators is not None and len(separators) > MAX_SEPARATORS:
        problems.append(f"Recursive chunking settings can not have more than {MAX_SEPARATORS} separators")
    _refuse(problems)
    assert size is not None
    return RecursiveChunkingSettings(size, PLAINTEXT_SEPARATORS if separators is None else separators)


_STRATEGIES: Final[Mapping[str, Callable[[Mapping[str, Any]], ChunkingSettings]]] = {
    "none": _none,
    "recursive": _recursive,
    "sentence": _by_sentences,
    "word": _by_words,
}


def _unknown_keys(settings: Mapping[str, Any], kind: str, known: tuple[str, ...]) -> Iterator[str]:
    unknown = [key for key in copied_hash_map_order(settings) if key not in ("strategy", *known)]
    if unknown:
        yield f"{kind} chunking settings can not have the following settings: [{', '.join(unknown)}]"


def _size(settings: Mapping[str, Any], least: int, problems: list[str]) -> int | None:
    size = _required_positive(settings, "max_chunk_size", problems)
    if size is not None and size < least:
        problems.append(
            _invalid("max_chunk_size", size, f"greater than or equal to [{print_java(float(least))}]")
        )
        return None
    return size


def _overlap(settings: Mapping[str, Any], most: int, problems: list[str]) -> int | None:
    overlap = _required_positive(settings, "overlap", problems)
    if overlap is not None and overlap > most:
        problems.append(_invalid("overlap", overlap, f"less than or equal to [{print_java(float(most))}]"))
    return overlap


def _invalid(name: str, value: int, bound: str) -> str:
    return f"[chunking_settings] Invalid value [{print_java(float(value))}]. [{name}] must be {bound}"


def _required_positive(settings: Mapping[str, Any], name: str, problems: list[str]) -> int | None:
    """Read a setting as ``InferenceUtils#extractRequiredPositiveInteger`` does."""
    before = len(problems)
    value = _integer(settings, name, problems)
    if value is not None and value > 0:
        return value
    if value is not None:
        problems.append(f"[chunking_settings] Invalid value [{value}]. [{name}] must be a positive integer")
    elif len(problems) == before:
        problems.append(f"[chunking_settings] does not contain the required setting [{name}]")
    return None


def _integer(settings: Mapping[str, Any], name: str, problems: list[str]) -> int | None:
    value = settings.get(name)
    if value is None or _is_integer(value):
        return value
    problems.append(_wrong_type(name, value, "Integer"))
    return None


def _is_integer(value: Any) -> bool:
    return class_name(value) == "java.lang.Integer"


def _separator_group(settings: Mapping[str, Any], problems: list[str]) -> str | None:
    name = settings.get("separator_group")
    if name is None:
        return None
    if not isinstance(name, str):
        problems.append(_wrong_type("separator_group", name, "String"))
    elif not name:
        problems.append(
            "[chunking_settings] Invalid value empty string. [separator_group] must be a non-empty string"
        )
    elif (group := name.strip(_JAVA_BLANK).lower()) in SEPARATOR_GROUPS:
        return group
    else:
        groups = ", ".join(SEPARATOR_GROUPS)
        reason = f"Invalid value [{name}] received. [separator_group] must be one of [{groups}]"
        problems.append(f"[chunking_settings] {reason}")
    return None


def _separators(settings: Mapping[str, Any], problems: list[str]) -> tuple[str, ...] | None:
    separators = settings.get("separators")
    if separators is None:
        return None
    if not isinstance(separators, list):
        problems.append(_wrong_type("separators", separators, "List"))
        return None
    if None in separators:
        reason = 'Cannot invoke "Object.getClass()" because "o" is null'
        raise ParseError(Cause("null_pointer_exception", reason))
    wrong = [separator for separator in separators if not isinstance(separator, str)]
    problems += [_wrong_type("separators", separator, "String") for separator in wrong]
    return None if wrong else tuple(separators)


def _wrong_type(name: str, value: Any, expected: str) -> str:
    return (
        f"field [{name}] is not of the expected type. The value [{print_java(value)}] cannot be converted "
        f"to a [{expected}]"
    )


def _refuse(problems: list[str]) -> None:
    if problems:
        raise _validation_error(problems)


def _validation_error(problems: list[str]) -> ParseError:
    """Return the error that ``ValidationException`` becomes."""
    numbered = "".join(f"{number}: {problem};" for number, problem in enumerate(problems, 1))
    return ParseError(Cause("validation_exception", f"Validation Failed: {numbered}"))
