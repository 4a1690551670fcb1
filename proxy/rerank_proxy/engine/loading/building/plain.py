"""Load an ordinary model without transformers, whose import takes longer than all else until the first score.

Ordinary is a checkpoint of a family of `plain_families.py` whose files say nothing but what is known here, so
that the outcome is that of transformers. For every other one, whether unusual or damaged, there is
`checkpoint.py`, which knows more and says what is wrong. Imports torch.
"""

from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

import msgspec
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from rerank_proxy.engine.backends.plain.parts import Config
from rerank_proxy.engine.encoding.encode import derive_pair, derive_single
from rerank_proxy.engine.encoding.tokenizer import Tokenizer
from rerank_proxy.engine.loading.building.plain_families import FAMILIES, FIXED, WITHOUT_EFFECT, Family
from rerank_proxy.engine.loading.reading.directory_check import read_json
from rerank_proxy.engine.loading.reading.profile import Profile
from rerank_proxy.engine.loading.tokenizers.described import UnusualTokenizerError
from rerank_proxy.engine.loading.tokenizers.json_tokenizer import read_tokenizer

_ONE_FILE: Final = "model.safetensors"
_INDEX: Final = "model.safetensors.index.json"

_TYPES: Final = ("F32", "F16", "BF16")


def load(profile: Profile) -> tuple[nn.Module, Tokenizer] | None:
    """Load an ordinary model in float32, in evaluation mode, with its tokenizer; return None for all others.

    Raises:
        ModelLoadError: A file cannot be read.
    """
    formatted = profile.messages is not None or profile.template is not None
    special = (profile.late, profile.decision, profile.sparse)
    if profile.architecture is None or formatted or any(each is not None for each in special):
        return None
    said = read_json(profile.directory / "config.json", dict[str, Any]) or {}
    family = FAMILIES.get(str(said.get("model_type")))
    config = None if family is None else _config(profile, family, said)
    if family is None or config is None:
        return None
    tokenizer = _tokenizer(profile, config)
    model = None if tokenizer is None else _model(profile, family, config)
    return None if tokenizer is None or model is None else (model, tokenizer)


def _config(profile: Profile, family: Family, said: Mapping[str, Any]) -> Config | None:
    """Return the config if it says nothing that is not known here."""
    of_encoders = ("Model", "ForMaskedLM", "ForPreTraining")
    ends = of_encoders if profile.head else ("ForSequenceClassification",)
    if profile.architecture not in {f"{family.name}{end}" for end in ends}:
        return None
    fixed = {**FIXED, **family.fixed}
    # Compared with the type: 1 equals True.
    if any(repr(said[key]) not in map(repr, ways) for key, ways in fixed.items() if key in said):
        return None
    if not profile.head and not (isinstance(said.get("id2label"), dict) and len(said["id2label"]) == 1):
        return None
    if not said.keys() <= {*family.config.__struct_fields__, *fixed, *WITHOUT_EFFECT, *family.without_effect}:
        return None
    try:
        config = msgspec.convert(said, family.config)
    except msgspec.ValidationError:
        return None
    return config if config.usual else None


def _tokenizer(profile: Profile, config: Config) -> Tokenizer | None:
    """Return the tokenizer if it is ordinary, and fits the model."""
    try:
        read = read_tokenizer(profile.directory, lower_case=profile.do_lower_case)
    except UnusualTokenizerError:
        return None
    if len(read) > config.vocab_size or read.pad_token_id != config.pad_token_id:
        return None
    tokenizer = Tokenizer(read)
    template = derive_single(tokenizer) if profile.head else derive_pair(tokenizer)
    return None if template is None else tokenizer


def _model(profile: Profile, family: Family, config: Config) -> nn.Module | None:
    """Return the model with its weights, if the files have all of them, in the sizes of the config."""
    paths = _files(profile.directory)
    if not paths:
        return None
    try:
        with ExitStack() as stack:
            files = [stack.enter_context(safe_open(path, framework="pt")) for path in paths]
            found = [(name, file) for file in files for name in list(file.keys())]
            stored = dict(found)
            if len(stored) != len(found) or config.layers > len(stored):
                return None
            names = _names(stored, family if profile.head else None)
            with torch.device("meta"):  # where nothing takes memory
                model = family.encoder(config) if profile.head else family.classifier(config)
            weights = _weights(stored, names, model.state_dict(), family.not_used)
    except SafetensorError:
        return None
    if weights is None:
        return None
    model.load_state_dict(weights, assign=True)
    return model.eval()


def _files(directory: Path) -> list[Path]:
    """Return the files of weights, as transformers chooses them. Those of an index are known to be there."""
    if (directory / _ONE_FILE).is_file():
        return [directory / _ONE_FILE]
    index = read_json(directory / _INDEX, dict[str, Any]) or {}
    return [directory / name for name in sorted(set((index.get("weight_map") or {}).values()))]


def _names(stored: Iterable[str], of_encoder: Family | None) -> dict[str, str]:
    """Return the names in the files by those of the model. Files of more than an encoder have a prefix."""
    prefix = "" if of_encoder is None else f"{of_encoder.prefix}."
    return {name.removeprefix(prefix): name for name in stored}


def _weights(
    stored: Mapping[str, Any],
    names: Mapping[str, str],
    wanted: Mapping[str, Tensor],
    not_used: tuple[str, ...],
) -> dict[str, Tensor] | None:
    """Return the weights in float32, if all are there in their sizes, and no others that might be meant."""
    if len(names) != len(stored) or not wanted.keys() <= names.keys():
        return None
    if not all(name.startswith(not_used) for name in names.keys() - wanted.keys()):
        return None
    slices = {name: stored[names[name]].get_slice(names[name]) for name in wanted}
    if any(slices[name].get_shape() != list(wanted[name].shape) for name in wanted):
        return None
    if any(each.get_dtype() not in _TYPES for each in slices.values()):
        return None
    # Copied out of the file's mapping: a file that is replaced in place must not change a model that serves.
    return {name: stored[names[name]].get_tensor(names[name]).to(torch.float32, copy=True) for name in wanted}
