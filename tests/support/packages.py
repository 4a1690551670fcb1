"""Model packages of the form that Elastic and Eland make, from tiny models of `tiny_models`."""

import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import msgspec
import torch
import transformers
from torch import Tensor, nn

from rerank_proxy.engine.errors import ModelLoadError
from rerank_proxy.engine.loading.packages import writing as package_writing
from rerank_proxy.engine.loading.packages.package import VOCABULARY_SUFFIX, Package
from rerank_proxy.engine.loading.packages.tokenization import read_tokenization
from rerank_proxy.engine.loading.packages.vocabulary import Vocabulary
from tests.support.tiny_models import MAX_LENGTH

KINDS: Final[Mapping[str, str]] = {
    "bert": "bert",
    "mpnet": "mpnet",
    "roberta": "roberta",
    "xlm-roberta": "xlm_roberta",
    "deberta-v2": "deberta_v2",
}
"""Elasticsearch's name for the tokenization of each kind of `tiny_models`."""

_OPTIONS: Final[Mapping[str, Mapping[str, Any]]] = {
    "bert": {"do_lower_case": True},
    "mpnet": {"do_lower_case": True},
    "roberta": {"add_prefix_space": False},
}


class Traced(nn.Module):
    """The arguments that Elasticsearch's native process gives, and a plain tensor."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model


class TwoArguments(Traced):
    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        logits: Tensor = self.model(input_ids=ids, attention_mask=mask)[0]
        return logits


class ThreeArguments(Traced):
    def forward(self, ids: Tensor, mask: Tensor, types: Tensor) -> tuple[Tensor]:
        return (self.model(input_ids=ids, attention_mask=mask, token_type_ids=types)[0],)


class FourArguments(Traced):
    def forward(self, ids: Tensor, mask: Tensor, types: Tensor, positions: Tensor) -> Tensor:
        logits: Tensor = self.model(
            input_ids=ids, attention_mask=mask, token_type_ids=types, position_ids=positions
        )[0]
        return logits


_ARGUMENTS: Final[Mapping[str, tuple[type[Traced], int]]] = {
    "bert": (FourArguments, 4),
    "deberta-v2": (ThreeArguments, 3),
    "mpnet": (TwoArguments, 2),
    "roberta": (TwoArguments, 2),
    "xlm-roberta": (TwoArguments, 2),
}


def load_model(directory: Path) -> Any:
    family: Any = transformers.AutoModelForSequenceClassification
    return family.from_pretrained(directory, attn_implementation="eager").eval()


def load_tokenizer(directory: Path) -> Any:
    return transformers.AutoTokenizer.from_pretrained(directory)


def build(kind: str, model: Path, directory: Path, name: str = "tiny", **options: Any) -> Package:
    """Trace the model of a directory of `tiny_models`, and write its package. `options`: of tokenization."""
    wrapper, arguments = _ARGUMENTS[kind]
    trace(wrapper(load_model(model)), arguments, directory / f"{name}.pt")
    return describe(kind, model, directory, name, **options)


def describe(kind: str, model: Path, directory: Path, name: str = "tiny", **options: Any) -> Package:
    """Write the vocabulary of the model, and metadata, beside a program that is there."""
    return write(
        directory, name, config=config(kind, **options), vocabulary=vocabulary(load_tokenizer(model))
    )


def write(directory: Path, name: str, *, config: Mapping[str, Any], vocabulary: Mapping[str, Any]) -> Package:
    """Complete a package whose `NAME.pt` is in the directory: write its vocabulary and metadata.

    Args:
        config: Of the trained model; `inference_config` is needed, what a package does not have is kept.

    Raises:
        ModelLoadError: The config or the vocabulary are not those of a reranker.
    """
    kind = read_tokenization(config.get("inference_config", {})).kind
    try:
        checked = msgspec.convert(vocabulary, Vocabulary)
    except msgspec.ValidationError as error:
        raise ModelLoadError(f"the vocabulary cannot be used: {error}") from None
    package_writing.write_vocabulary(directory / (name + VOCABULARY_SUFFIX), checked, kind)
    return package_writing.describe(directory, name, config)


def config(kind: str, **options: Any) -> dict[str, Any]:
    """Return a trained model's configuration."""
    tokenization = {
        "max_sequence_length": MAX_LENGTH,
        "truncate": "balanced",
        **_OPTIONS.get(kind, {}),
        **options,
    }
    return {
        "description": "a tiny reranker",
        "minimum_version": "12.0.0",
        "model_type": "pytorch",
        "inference_config": {"text_similarity": {"tokenization": {KINDS[kind]: tokenization}}},
        "metadata": {},
        "tags": [],
    }


def trace(program: nn.Module, arguments: int, path: Path, rows: int = 1, tokens: int = MAX_LENGTH) -> None:
    """Save a program as it is traced with zeros for ids."""
    inputs = (
        torch.full((rows, tokens), 7),
        torch.ones(rows, tokens, dtype=torch.long),
        torch.zeros(rows, tokens, dtype=torch.long),
        torch.arange(tokens).expand(rows, tokens),
    )[:arguments]
    jit: Any = torch.jit
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # torch would rather have another format, and doubts each condition
        jit.save(jit.freeze(jit.trace(program.eval(), inputs)), str(path))


def vocabulary(tokenizer: Any) -> dict[str, Any]:
    """Return the vocabulary as Eland reads it from a tokenizer."""
    tokens = sorted(tokenizer.get_vocab().items(), key=lambda item: item[1])
    state = msgspec.json.decode(tokenizer.backend_tokenizer.to_str())["model"]
    more: Mapping[str, Callable[[], dict[str, Any]]] = {
        "BPE": lambda: {"merges": [" ".join(pair) for pair in state["merges"]]},
        "Unigram": lambda: {"scores": [score for _, score in state["vocab"]]},
        "WordPiece": dict,
    }
    return {"vocabulary": [token for token, _ in tokens], **more[state["type"]]()}
