"""Tiny sparse encoders (SPLADE), saved as versions 5 and 6 of sentence-transformers save them."""

import copy
import json
from pathlib import Path
from typing import Any

import torch
from sentence_transformers import SparseEncoder
from sentence_transformers.base.modules import Router, Transformer
from sentence_transformers.sparse_encoder.modules import SparseStaticEmbedding, SpladePooling


def save(
    directory: Path,
    masked: Path,
    *,
    strategy: Any = "max",
    activation: Any = "relu",
    transformer: dict[str, Any] | None = None,
    **options: Any,
) -> SparseEncoder:
    """Save a model.

    Args:
        masked: The directory of a `…ForMaskedLM`.
        transformer: Options of the transformer.
        options: Of the model.
    """
    modules = [
        Transformer(str(masked), transformer_task="fill-mask", **(transformer or {})),
        SpladePooling(strategy, activation),
    ]
    model = SparseEncoder(modules=modules, device="cpu", **options)
    model.save(str(directory))
    return model.eval()


def rewrite(file: Path, **changes: Any) -> None:
    """Change keys of a JSON object in a file."""
    file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))


def as_version_5(directory: Path) -> None:
    """Write what version 5 of sentence-transformers wrote in place of version 6."""
    names = ("MLMTransformer", "SpladePooling")
    paths = ("", "1_SpladePooling")
    modules = [
        {
            "idx": at,
            "name": str(at),
            "path": path,
            "type": f"sentence_transformers.sparse_encoder.models.{name}",
        }
        for at, (name, path) in enumerate(zip(names, paths, strict=True))
    ]
    (directory / "modules.json").write_text(json.dumps(modules))
    (directory / "sentence_bert_config.json").write_text('{"max_seq_length": 40, "do_lower_case": false}')
    pooling = directory / "1_SpladePooling/config.json"
    config = json.loads(pooling.read_text())
    config["word_embedding_dimension"] = config.pop("embedding_dimension")
    pooling.write_text(json.dumps(config))


def save_with_static_queries(directory: Path, masked: Path, **options: Any) -> SparseEncoder:
    """Save a model in which each token of a query has a weight that is always the same."""
    transformer = Transformer(str(masked), transformer_task="fill-mask")
    torch.manual_seed(7)
    weight = torch.rand(len(transformer.tokenizer)) * (torch.arange(len(transformer.tokenizer)) % 5 > 0)
    router = Router.for_query_document(
        [SparseStaticEmbedding(copy.deepcopy(transformer.tokenizer), weight)],
        [transformer, SpladePooling("max", "log1p_relu")],
    )
    model = SparseEncoder(modules=[router], device="cpu", **options)
    model.save(str(directory))
    return model.eval()
