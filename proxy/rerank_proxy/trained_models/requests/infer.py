"""The body of `_infer` (``InferModelAction``): documents to compare with one text."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from rerank_proxy.errors import illegal_argument, status_error
from rerank_proxy.trained_models.failures import bad_request
from rerank_proxy.trained_models.model_config import TEXT_SIMILARITY, TrainedModelConfig
from rerank_proxy.xcontent.object_parser import STR, Field, objects, parse_named, parse_object, unknown_name
from rerank_proxy.xcontent.params import Params
from rerank_proxy.xcontent.plain_json import plain
from rerank_proxy.xcontent.source import OBJECT, STRING, Node, parse
from rerank_proxy.xcontent.time_value import TimeValue, parse_time_value, time_param

_PARSER: Final = "cluster:internal/xpack/ml/inference/infer"
_DEFAULT_TIMEOUT: Final = TimeValue(10 * 10**9)
_DEFAULT_RESULTS_FIELD: Final = "predicted_value"
_OTHER_TASKS: Final = frozenset(
    {
        "classification", "fill_mask", "ner", "pass_through", "question_answering", "regression",
        "text_classification", "text_embedding", "text_expansion", "zero_shot_classification",
    }
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class InferRequest:
    """A request to score documents.

    Attributes:
        task: The task that the request is for, if it names one.
        text: What the documents are compared with.
    """

    docs: Sequence[Mapping[str, Any]]
    timeout: TimeValue
    task: str | None = None
    text: str | None = None
    results_field: str | None = None

    def query(self, config: TrainedModelConfig) -> str:
        """Return the text that the documents are compared with.

        Raises:
            ElasticsearchError: The request is for another task, or has no text.
        """
        if self.task not in (None, TEXT_SIMILARITY):
            raise status_error(
                403,
                f"Trained model [{config.model_id}] is configured for task [{TEXT_SIMILARITY}] but called "
                f"with task [{self.task}]",
            )
        if self.text is None:
            raise illegal_argument("[text] must not be null.")
        return self.text

    def name_of_results(self, config: TrainedModelConfig) -> str:
        """Return the key of a score in the answer."""
        return self.results_field or config.results_field or _DEFAULT_RESULTS_FIELD

    def texts(self, config: TrainedModelConfig) -> list[str]:
        """Return the text of each document.

        Raises:
            ElasticsearchError: 400, a document has none.
        """
        return [_text_of(doc, config.field_names[0]) for doc in self.docs]


@dataclass(frozen=True, slots=True)
class Inferred:
    """The result for one document.

    Attributes:
        score: The raw score.
        truncated: True if the document was cut to the model's limit.
        cached: True if the score was found in the cache.
    """

    score: float
    truncated: bool
    cached: bool = False


def parse_infer(params: Params, body: bytes) -> InferRequest:
    """Read a request to score documents.

    Raises:
        ElasticsearchError: 400, as Elasticsearch words it.
    """
    if not body:
        raise bad_request("requires body")
    values = parse_object(parse(body), _PARSER, _FIELDS)
    if "docs" not in values:
        raise illegal_argument("[docs] must not be null.")
    timeout = time_param(params, "timeout") or values.get("timeout", _DEFAULT_TIMEOUT)
    docs = [plain(raw) for raw in values["docs"]]
    task, update = values.get("inference_config", (None, {}))
    return InferRequest(docs, timeout, task, update.get("text"), update.get("results_field"))


def _text_of(doc: Mapping[str, Any], path: str) -> str:
    value: Any = doc.get(path)
    if value is None and "." in path:
        value = doc
        for name in path.split("."):
            value = value.get(name) if isinstance(value, Mapping) else None
    if value is None:
        raise bad_request(f"Input field [{path}] does not exist in the source document")
    if not isinstance(value, str):
        raise bad_request(f"The value of input field [{path}] must be a string")
    return value


def _doc(node: Node) -> bytes:
    """Read a document as ``XContentParser#mapOrdered`` does: a value that is not an object has no members."""
    return node.raw if node.kind == OBJECT else b"{}"


def _update(node: Node) -> tuple[str, Mapping[str, Any]]:
    def read(node: Node, name: str) -> tuple[str, Mapping[str, Any]]:
        if name in _OTHER_TASKS:
            return name, {}
        if name != TEXT_SIMILARITY:
            raise unknown_name(node, node.keys[name], name)
        return name, parse_object(node.members[name], TEXT_SIMILARITY, _TEXT_SIMILARITY)

    return parse_named(node, "inference_config", read)


def _no_tokenization(node: Node) -> None:
    raise bad_request("[tokenization] cannot be changed by a request: the configuration of the model sets it")


_TEXT_SIMILARITY: Final = {
    "text": STR,
    "results_field": STR,
    "span_score_combination_function": STR,
    "tokenization": Field(frozenset({OBJECT}), _no_tokenization),
}
_FIELDS: Final = {
    "id": STR,
    "docs": objects(_doc),
    "timeout": Field(frozenset({STRING}), lambda node: parse_time_value(node.scalar(), "timeout")),
    "inference_config": Field(frozenset({OBJECT}), _update),
}
