"""The families: by the `model_type` of a model's config, how its body is built and its classifier run."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from torch import Tensor

from rerank_proxy.engine.backends.packed import bert, deberta, distilbert, gte, modernbert, mpnet
from rerank_proxy.engine.backends.packed.body import Body
from rerank_proxy.engine.backends.packed.linear import Linears


def _always(config: Any) -> bool:
    return True


def _none(config: Any) -> int:
    return 0


def _pooler_and_classifier(model: Any, firsts: Tensor) -> Tensor:
    """Run a classifier on first tokens, behind the body's pooler if it has one."""
    body = getattr(model, model.base_model_prefix)
    pooler = getattr(body, "pooler", None)
    hidden = firsts[:, None]
    logits: Tensor = model.classifier(hidden if pooler is None else pooler(hidden))
    return logits


@dataclass(frozen=True, slots=True)
class Family:
    """An architecture. All but `build` is that of BERT if not given."""

    build: Callable[[Any, Linears], Body]
    """From the transformer below the head."""
    supports: Callable[[Any], bool] = _always
    """Tells from the config whether the model has only what `build` builds."""
    logits: Callable[[Any, Tensor], Tensor] = _pooler_and_classifier
    """Runs a `…ForSequenceClassification` from the pooled rows on, (rows, hidden) → (rows, labels)."""
    pools_first: Callable[[Any], bool] = _always
    """Tells from the config whether the classifier reads the first token; otherwise the mean of all."""
    probe_tokens: Callable[[Any], int] = _none
    """Tokens of a row that takes every way through the layers; 0 if any row does."""


_BERT: Final = Family(bert.build, bert.supports)
_ROTARY: Final = Family(gte.build, gte.supports)

FAMILIES: Final[Mapping[str, Family]] = {
    **dict.fromkeys(("bert", "roberta", "xlm-roberta", "camembert", "electra"), _BERT),
    "deberta-v2": Family(
        deberta.build, deberta.supports, logits=deberta.logits, probe_tokens=deberta.probe_tokens
    ),
    "distilbert": Family(distilbert.build, logits=distilbert.logits),
    "gte": _ROTARY,
    "modernbert": Family(
        modernbert.build,
        modernbert.supports,
        modernbert.logits,
        modernbert.pools_first,
        modernbert.probe_tokens,
    ),
    "mpnet": Family(mpnet.build, probe_tokens=mpnet.probe_tokens),
    "nomic_bert": _ROTARY,
}

MODEL_TYPES: Final = tuple(FAMILIES)
