"""Tiny late-interaction models, saved as sentence-transformers, PyLate and ColBERT save theirs."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import torch
from safetensors.torch import load_file, save_file
from sentence_transformers import MultiVectorEncoder
from sentence_transformers.base.modules import Dense, Normalize, Transformer
from sentence_transformers.multi_vector_encoder.modules import MultiVectorMask

from tests.support import tiny_models

DIMENSIONS: Final = 32
VECTORS: Final = "token_embeddings"
PUNCTUATION: Final = [".", ",", ";"]


_MARKERS = (("query", "[Q] "), ("document", "[D] "))
OF_PYLATE: dict[str, Any] = {
    "query_prefix": "[Q] ",
    "document_prefix": "[D] ",
    "query_length": 16,
    "document_length": 24,
    "attend_to_expansion_tokens": False,
    "skiplist_words": PUNCTUATION,
    "do_query_expansion": True,
}

OF_COLBERT: dict[str, Any] = {
    "query_token_id": "[unused1]",
    "doc_token_id": "[unused0]",
    "query_maxlen": 16,
    "doc_maxlen": 24,
    "mask_punctuation": True,
    "attend_to_mask_tokens": False,
    "dim": 8,
    "similarity": "cosine",
    "interaction": "colbert",
}


def projection(**options: Any) -> Dense:
    plain = {"bias": False, "activation_function": torch.nn.Identity(), "module_input_name": VECTORS}
    return Dense(DIMENSIONS, 8, **{**plain, **options})


def save(
    directory: Path,
    encoder: Path,
    *,
    head: Sequence[torch.nn.Module] | None = None,
    mask: MultiVectorMask | None = None,
    similarity: str | None = None,
    prompts: dict[str, str] | None = None,
    **transformer: Any,
) -> MultiVectorEncoder:
    torch.manual_seed(7)
    head = [projection()] if head is None else head
    modules = [
        Transformer(str(encoder), **transformer),
        *head,
        mask or MultiVectorMask(PUNCTUATION),
        Normalize(VECTORS),
    ]
    model = MultiVectorEncoder(
        modules=modules, device="cpu", similarity_fn_name=similarity, prompts=prompts or {}
    )
    model.save(str(directory))
    return model.eval()


def made_by_pylate(directory: Path, encoder: Path, settings: dict[str, Any]) -> Path:
    """Write the files that PyLate writes: its own module, and its settings beside the prompts."""
    torch.manual_seed(7)
    transformer = Transformer(str(encoder))
    markers = [settings.get(f"{side}_prefix") or default for side, default in _MARKERS]
    transformer.tokenizer.add_tokens(markers)
    transformer.model.resize_token_embeddings(len(transformer.tokenizer))
    transformer.save(str(directory))
    dense = projection()
    (directory / "1_Dense").mkdir()
    dense.save(str(directory / "1_Dense"))
    config = json.loads((directory / "1_Dense/config.json").read_text())
    del config["module_input_name"], config["module_output_name"]
    (directory / "1_Dense/config.json").write_text(json.dumps({**config, "use_residual": False}))
    modules = [
        {"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"},
        {"idx": 1, "name": "1", "path": "1_Dense", "type": "pylate.models.Dense.Dense"},
    ]
    (directory / "modules.json").write_text(json.dumps(modules))
    (directory / "sentence_bert_config.json").write_text('{"max_seq_length": 31, "do_lower_case": false}')
    base: dict[str, Any] = {"prompts": {}, "default_prompt_name": None, "similarity_fn_name": "MaxSim"}
    (directory / "config_sentence_transformers.json").write_text(json.dumps({**base, **settings}))
    return directory


def made_by_colbert(directory: Path, kind: str, metadata: dict[str, Any] | None) -> Path:
    """Write the files that ColBERT itself writes: its projection is among the weights of its transformer."""
    model = tiny_models.build_encoder(kind, directory)
    tokenizer = json.loads((model / "tokenizer.json").read_text())
    vocabulary = tokenizer["model"]["vocab"]
    for unused, name in zip(("##ü", "##ö", "##à"), ("[unused0]", "[unused1]", "!"), strict=True):
        vocabulary[name] = vocabulary.pop(unused)
    (model / "tokenizer.json").write_text(json.dumps(tokenizer))
    weights = load_file(model / "model.safetensors")
    torch.manual_seed(7)
    prefixed = {f"bert.{name}": weight for name, weight in weights.items()}
    save_file(
        {**prefixed, "linear.weight": torch.randn(8, DIMENSIONS)},
        model / "model.safetensors",
        {"format": "pt"},
    )
    config = json.loads((model / "config.json").read_text())
    (model / "config.json").write_text(json.dumps({**config, "architectures": ["HF_ColBERT"]}))
    if metadata is not None:
        (model / "artifact.metadata").write_text(json.dumps(metadata))
    return model
