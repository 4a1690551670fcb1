"""The body that configures a trained model (``TrainedModelConfig``), read strictly."""

from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any, Final

import msgspec

from rerank_proxy.errors import ElasticsearchError, validation_error
from rerank_proxy.trained_models.failures import bad_request
from rerank_proxy.trained_models.model_config import PYTORCH, TEXT_SIMILARITY, TrainedModelConfig
from rerank_proxy.trained_models.requests.ids import id_faults, is_id
from rerank_proxy.xcontent.object_parser import (
    BOOL,
    INT,
    RAW_OBJECT,
    STR,
    STRS,
    Field,
    illegal_argument,
    parse_named,
    parse_object,
    unknown_name,
)
from rerank_proxy.xcontent.plain_json import plain
from rerank_proxy.xcontent.source import BOOLEAN, NUMBER, OBJECT, STRING, Node, parse

_LONG_MAX: Final = 2**63 - 1
_FUNCTIONS: Final = ("max", "mean")
_TRUNCATE: Final = ("first", "second", "none", "balanced")
_NOT_AT_CREATION: Final = ("version", "created_by", "create_time", "license_level", "location")

_COMMON: Final = {
    "do_lower_case": BOOL,
    "with_special_tokens": BOOL,
    "max_sequence_length": INT,
    "truncate": STR,
    "span": INT,
}
_SPECIAL_OPTIONS: Final[Mapping[str, Mapping[str, Field]]] = {
    "bert": {},
    "bert_ja": {},
    "mpnet": {},
    "roberta": {"add_prefix_space": BOOL},
    "xlm_roberta": {},
    "deberta_v2": {},
}
_DEFAULTS: Final = {
    "do_lower_case": False,
    "with_special_tokens": True,
    "max_sequence_length": 512,
    "truncate": "first",
    "span": -1,
}


def is_text_similarity(body: bytes) -> bool:
    """Tell whether a configuration, valid or not, is for `text_similarity` and nothing else."""
    try:
        inference_config = parse(body).members.get("inference_config")
        return inference_config is not None and [*inference_config.members] == [TEXT_SIMILARITY]
    except ElasticsearchError:
        return False


def parse_config(model_id: str, body: bytes, create_time: int) -> TrainedModelConfig:
    """Read the configuration of a new model.

    Args:
        create_time: Milliseconds since the epoch.

    Raises:
        ElasticsearchError: 400, for what Elasticsearch refuses too, and for options that this proxy does not
            support.
    """
    values = parse_object(parse(body), "trained_model_config", _CONFIG)
    stated = values.get("model_id", model_id)
    if stated != model_id:
        raise illegal_argument(
            f"Inconsistent model_id; '{stated}' specified in the body differs from '{model_id}' specified as "
            "a URL argument"
        )
    _validate(model_id, values)
    similarity = values["inference_config"]
    config = TrainedModelConfig(
        model_id=model_id,
        create_time=create_time,
        field_names=values.get("input", ("text_field",)),
        tokenization=similarity.get("tokenization", {"bert": dict(_DEFAULTS)}),
        results_field=similarity.get("results_field"),
        span_score_combination_function=similarity.get("span_score_combination_function", "max"),
        description=values.get("description"),
        tags=values.get("tags", ()),
        metadata=values.get("metadata"),
        prefix_strings=values.get("prefix_strings"),
        platform_architecture=values.get("platform_architecture"),
        estimated_operations=values.get("estimated_operations", 0),
        size=values.get("model_size_bytes", 0),
    )
    _check_can_be_saved(config)
    return config


def _check_can_be_saved(config: TrainedModelConfig) -> None:
    """Refuse a configuration that cannot be saved, such as one with a lone surrogate, before its model is
    uploaded.
    """
    try:
        msgspec.json.encode(asdict(config))
    except (UnicodeEncodeError, OverflowError, RecursionError) as problem:
        raise bad_request(
            f"the configuration of model [{config.model_id}] cannot be saved: {problem}"
        ) from None


def _validate(model_id: str, values: Mapping[str, Any]) -> None:
    """Check values as ``TrainedModelConfig.Builder#validate`` does."""
    faults = []
    if "model_type" not in values:
        faults.append("[model_type] must be set if [definition] is not defined.")
    if "inference_config" not in values:
        faults.append("[inference_config] must not be null.")
    faults += id_faults("model_id", model_id)
    tags = values.get("tags", ())
    if bad := [tag for tag in tags if not is_id(tag)]:
        faults.append(
            f"Invalid tags [{', '.join(bad)}]; must only can contain lowercase alphanumeric (a-z and 0-9), "
            "hyphens or underscores, must start and end with alphanumeric, and must be less than 64 "
            "characters."
        )
    if model_id in tags:
        faults.append("none of the tags must equal the model_id")
    names = values.get("input")
    if names is not None and not names:
        faults.append("[input.field_names] must not be empty")
    if any("." in name and "" in name.split(".") for name in names or ()):
        faults.append("[input.field_names] must only contain valid dot delimited field names")
    faults += [
        f"illegal to set [{name}] at inference model creation"
        for name in (*_NOT_AT_CREATION, "model_package")
        if name in values
    ]
    if faults:
        raise validation_error(faults)
    for name in ("definition", "compressed_definition"):
        if name in values:
            raise bad_request(f"[{name}] cannot be used for a [{PYTORCH}] model; upload it in parts")


def _model_type(node: Node) -> str:
    """Read ``TrainedModelType#fromString``, of which only the type that can rerank is known here."""
    text: str = node.scalar()
    if text.lower() != PYTORCH:
        raise illegal_argument(f"a model for [{TEXT_SIMILARITY}] has [model_type] [{PYTORCH}], not [{text}]")
    return PYTORCH


def _to_long(name: str) -> Callable[[Node], int]:
    def read(node: Node) -> int:
        try:
            number = int(node.scalar())
        except (ValueError, OverflowError):
            raise illegal_argument(f"[{name}] is not a number that a long can hold") from None
        if number > _LONG_MAX:
            raise illegal_argument(f"[{name}] is not a number that a long can hold")
        if number < 0:
            raise illegal_argument(f"[{name}] must be greater than or equal to 0")
        return number

    return read


def _json(node: Node) -> Any:
    return plain(node.raw)


def _input(node: Node) -> tuple[str, ...]:
    fields = {"field_names": Field(STRS.kinds, STRS.convert, required=True)}
    names: tuple[str, ...] = parse_object(node, "trained_model_config_input", fields)["field_names"]
    return names


def _prefix_strings(node: Node) -> Mapping[str, str]:
    return parse_object(node, "trained_model_config_prefix_strings", {"ingest": STR, "search": STR})


def _inference_config(node: Node) -> Mapping[str, Any]:
    def read(node: Node, name: str) -> Mapping[str, Any]:
        if name != TEXT_SIMILARITY:
            raise unknown_name(node, node.keys[name], name)
        return parse_object(node.members[name], TEXT_SIMILARITY, _SIMILARITY)

    return parse_named(node, "inference_config", read)


def _tokenization(node: Node) -> Mapping[str, Mapping[str, Any]]:
    def read(node: Node, name: str) -> Mapping[str, Mapping[str, Any]]:
        special = _SPECIAL_OPTIONS.get(name)
        if special is None:
            raise unknown_name(node, node.keys[name], name)
        given = parse_object(node.members[name], f"{name}_tokenization", {**_COMMON, **special})
        options = {**_DEFAULTS, **dict.fromkeys(special, False), **given}
        _check_options(options)
        return {name: options}

    return parse_named(node, "tokenization", read)


def _check_options(options: Mapping[str, Any]) -> None:
    """Check options as the constructor of ``Tokenization`` does."""
    length, span, truncate = (options[name] for name in ("max_sequence_length", "span", "truncate"))
    if truncate not in _TRUNCATE:
        raise illegal_argument(
            "No enum constant org.elasticsearch.xpack.core.ml.inference.trainedmodel.Tokenization.Truncate."
            f"{truncate.upper()}"
        )
    if length <= 0:
        raise illegal_argument("[max_sequence_length] must be positive")
    if span < -1:
        raise illegal_argument(
            "[span] must be non-negative to indicate span length or -1 to indicate no windowing should occur"
        )
    if span > length:
        raise illegal_argument(
            f"[span] provided [{span}] must not be greater than [max_sequence_length] provided [{length}]"
        )
    if span != -1 and truncate != "none":
        raise illegal_argument("[span] must not be provided when [truncate] is not [none]")


def _function(node: Node) -> str:
    text: str = node.scalar().lower()
    if text not in _FUNCTIONS:
        raise illegal_argument(
            "No enum constant org.elasticsearch.xpack.core.ml.inference.trainedmodel.TextSimilarityConfig."
            f"SpanScoreFunction.{text.upper()}"
        )
    return text


def _no_vocabulary(node: Node) -> None:
    raise illegal_argument("illegal setting [vocabulary] on inference model creation")


_LONG_KINDS: Final = frozenset({NUMBER, STRING})
_SIMILARITY: Final[Mapping[str, Field]] = {
    "vocabulary": Field(frozenset({OBJECT}), _no_vocabulary),
    "tokenization": Field(frozenset({OBJECT}), _tokenization),
    "results_field": STR,
    "span_score_combination_function": Field(frozenset({STRING}), _function),
}
_CONFIG: Final[Mapping[str, Field]] = {
    "model_id": STR,
    "model_type": Field(frozenset({STRING}), _model_type),
    "created_by": STR,
    "version": STR,
    "description": STR,
    "create_time": Field(frozenset({STRING, NUMBER, BOOLEAN}), lambda node: node.raw),
    "tags": STRS,
    "metadata": Field(frozenset({OBJECT}), _json),
    "doc_type": STR,
    "input": Field(frozenset({OBJECT}), _input),
    "model_size_bytes": Field(_LONG_KINDS, _to_long("model_size_bytes")),
    "estimated_operations": Field(_LONG_KINDS, _to_long("estimated_operations")),
    "definition": RAW_OBJECT,
    "compressed_definition": STR,
    "license_level": STR,
    "default_field_map": RAW_OBJECT,
    "inference_config": Field(frozenset({OBJECT}), _inference_config),
    "location": RAW_OBJECT,
    "model_package": RAW_OBJECT,
    "platform_architecture": STR,
    "prefix_strings": Field(frozenset({OBJECT}), _prefix_strings),
}
