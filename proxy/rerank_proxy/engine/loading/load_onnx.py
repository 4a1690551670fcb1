"""Load a checkpoint's ONNX file, without torch and transformers."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np

from rerank_proxy.engine.backends.cpu import batch_threads
from rerank_proxy.engine.backends.onnx import OnnxBackend, open_session
from rerank_proxy.engine.encoding.encode import (
    TemplatePairEncoder,
    TextEncoder,
    derive_pair,
    derive_single,
    gathered,
)
from rerank_proxy.engine.encoding.scorers import BiEncoder, CrossEncoder, Scorer
from rerank_proxy.engine.encoding.tokenizer import Tokenizer
from rerank_proxy.engine.encoding.truncate import DEFAULT_TRUNCATION
from rerank_proxy.engine.errors import ModelLoadError
from rerank_proxy.engine.loading.building.array_head import build_array_head
from rerank_proxy.engine.loading.building.dividing import refuse_windows
from rerank_proxy.engine.loading.building.prompting import check_activation, refuse_prompt_settings
from rerank_proxy.engine.loading.loaded_model import LoadedModel, check_cross_encoder
from rerank_proxy.engine.loading.reading import onnx_file
from rerank_proxy.engine.loading.reading import profile as profiles
from rerank_proxy.engine.loading.reading.directory_check import read_json
from rerank_proxy.engine.loading.reading.model_files import COPY_AGAIN
from rerank_proxy.engine.loading.reading.profile import Profile
from rerank_proxy.engine.loading.sources.source import fingerprint_of
from rerank_proxy.engine.loading.tokenizers.json_tokenizer import read_tokenizer
from rerank_proxy.engine.rows import Batch
from rerank_proxy.settings import EngineSettings, ModelSettings

_BUDGET_TOKENS: Final = 1024
"""Tokens of a batch: the tensors of twice as many need some 70 MB more and save hardly any time."""
_DEFAULT_MAX_LENGTH: Final = 512
_MIN_MAX_LENGTH: Final = 8
_NO_LIMIT: Final = 10**9
"""Tokenizers and configs mean "no limit" by such numbers."""

_EXPORT_AGAIN: Final = (
    "export it again with `rerank-proxy export`, or use the backend [torch]: some models cannot be exported"
)
_PROBES: Final = ("a short text", "a text " * 40, "and one of another length", "")
_TOLERANCE: Final = 1e-4
"""Largest difference that is rounding, relative to the outputs."""

_COUNTING_TYPES: Final = ("roberta", "xlm-roberta", "xlm-roberta-xl", "camembert", "mpnet")
"""Types that count positions from behind the padding id, and so have fewer than config.json says."""

_RELATIVE_TYPES: Final = ("deberta-v2", "modernbert")
"""Types whose positions are relative or rotary: rows may be longer than config.json says."""


class _Config(msgspec.Struct):
    """config.json, as far as it matters here."""

    model_type: str | None = None
    max_position_embeddings: int | None = None
    pad_token_id: int | None = None
    type_vocab_size: int | None = None
    num_labels: int | None = None
    id2label: dict[str, Any] | None = None


def load_onnx(directory: Path, settings: ModelSettings, engine: EngineSettings) -> LoadedModel:
    """Load the ONNX file of a directory.

    Raises:
        ModelLoadError: One line that names what is wrong and the remedy.
    """
    _check_engine(settings, engine)
    profile = profiles.read(directory, settings)
    check_kind(profile, settings)
    config = read_json(profile.directory / "config.json", _Config) or _Config()
    path = _find(profile, directory, settings)
    files = onnx_file.inspect(path, directory)
    _check_labels(profile, config)
    tokenizer = Tokenizer(read_tokenizer(profile.directory, lower_case=profile.do_lower_case))
    max_length = _max_length(profile, settings, config, tokenizer)
    run: Mapping[str, object] = {
        "revision": settings.revision,
        "max_length": max_length,
        "truncation": settings.truncation or DEFAULT_TRUNCATION,
        "activation": settings.activation,
        "backend": "onnx",
    }
    identity = fingerprint_of(directory, run, files)
    scorer = _scorer(profile, settings, tokenizer, max_length, identity)
    backend = _backend(profile, config, tokenizer, path, engine)
    _check_batches(path, backend, scorer)
    info = {
        "kind": profile.kind,
        "architecture": f"{profile.architecture} (ONNX)",
        "device": "cpu",
        "precision": "fp32",
        "padded": "true",
        "max_length": str(max_length),
        "fingerprint": identity,
    }
    return LoadedModel(scorer, backend, engine.budget_tokens or _BUDGET_TOKENS, info)


def _find(profile: Profile, directory: Path, settings: ModelSettings) -> Path:
    path = onnx_file.find(profile.directory, directory)
    if path is None:
        raise ModelLoadError(
            f"[{settings.source}] has no ONNX file ({' or '.join(onnx_file.PLACES)}); make one with "
            "`rerank-proxy export`, or use the backend [torch]"
        )
    return path


def _check_engine(settings: ModelSettings, engine: EngineSettings) -> None:
    if engine.precision not in (None, "auto", "fp32"):
        raise ModelLoadError(
            f"[{settings.source}]: the backend [onnx] runs in fp32, and engine.precision is "
            f"[{engine.precision}]; set it to `fp32` or `auto`, or use the backend [torch]"
        )
    if engine.device not in ("auto", "cpu"):
        raise ModelLoadError(
            f"[{settings.source}]: the backend [onnx] runs on the CPU only, and engine.device is "
            f"[{engine.device}]; set it to `cpu` or `auto`, or use the backend [torch]"
        )


def check_kind(profile: Profile, settings: ModelSettings) -> None:
    """Refuse models and settings that the backend `onnx` does not run.

    Raises:
        ModelLoadError: They are such.
    """
    formatted = profile.template is not None or profile.messages is not None
    special = (profile.late, profile.decision, profile.sparse)
    if formatted or any(each is not None for each in special):
        raise ModelLoadError(
            f"[{settings.source}]: the backend [onnx] runs cross-encoders of plain pairs and bi-encoders, "
            "and this is neither; use the backend [torch]"
        )
    refuse_prompt_settings(settings)
    refuse_windows(settings, "runs with the backend [onnx], which does not divide texts")
    check_activation(profile, settings)


def _check_labels(profile: Profile, config: _Config) -> None:
    labels = config.num_labels if config.id2label is None else len(config.id2label)
    if not profile.head and labels not in (None, 1):
        raise ModelLoadError(f"[{profile.directory}] gives {labels} labels; a reranker has exactly one")


def _backend(
    profile: Profile, config: _Config, tokenizer: Tokenizer, path: Path, engine: EngineSettings
) -> OnnxBackend:
    session = open_session(path, batch_threads(engine.threads, engine.workers))
    head = build_array_head(profile.head) if profile.head else None
    type_ids = tokenizer.gives_type_ids and config.type_vocab_size != 1
    try:
        return OnnxBackend(session, head, tokenizer.transformers.pad_token_id, type_ids=type_ids)
    except ModelLoadError as error:
        raise ModelLoadError(f"[{path}]: {error}") from None


def _check_batches(path: Path, backend: OnnxBackend, scorer: Scorer) -> None:
    """Refuse a graph in which neighbours or padding change a row's outputs.

    It may have been made for one shape only, or may read its output at the last position, padding or not.

    Raises:
        ModelLoadError: It is one.
    """
    rows = gathered(scorer.encode("a query", _PROBES, range(len(_PROBES))))
    try:
        together = backend.score(Batch.of(rows))
        alone = np.concatenate([backend.score(Batch.of([row])) for row in rows])
    except Exception as error:  # ONNX Runtime raises a dozen kinds of its own.
        raise ModelLoadError(
            f"[{path}] cannot run rows of different lengths ({' '.join(str(error).split())}); {_EXPORT_AGAIN}"
        ) from error
    scale = max(1.0, float(np.abs(alone).max()))
    if together.shape != alone.shape or not np.allclose(together, alone, rtol=0, atol=_TOLERANCE * scale):
        raise ModelLoadError(
            f"[{path}] gives other numbers for a row beside longer ones than alone; {_EXPORT_AGAIN}"
        )


def _max_length(profile: Profile, settings: ModelSettings, config: _Config, tokenizer: Tokenizer) -> int:
    """Return the most tokens of a row, as the settings say, or the files of the model and its tokenizer."""
    positions = _positions(config)
    hard = None if config.model_type in _RELATIVE_TYPES else positions
    wanted = settings.max_length
    if wanted is not None and hard is not None and wanted > hard:
        raise ModelLoadError(
            f"[{settings.source}] has positions for {hard} tokens; max_length {wanted} is too much"
        )
    if wanted is None:
        limits = (profile.max_length or tokenizer.transformers.model_max_length, positions)
        known = [limit for limit in limits if limit is not None and 0 < limit < _NO_LIMIT]
        wanted = min(known, default=_DEFAULT_MAX_LENGTH)
    if wanted < _MIN_MAX_LENGTH:
        raise ModelLoadError(f"[{settings.source}]: max_length {wanted} leaves no room for query and text")
    return wanted


def _positions(config: _Config) -> int | None:
    """Return the tokens that a row may have by config.json; None where it says nothing of it."""
    positions = config.max_position_embeddings
    if positions is None or config.model_type not in _COUNTING_TYPES:
        return positions
    return positions - (1 if config.pad_token_id is None else config.pad_token_id) - 1


def _scorer(
    profile: Profile, settings: ModelSettings, tokenizer: Tokenizer, max_length: int, identity: str
) -> Scorer:
    truncation = settings.truncation or DEFAULT_TRUNCATION
    if profile.kind == "cross-encoder":
        check_cross_encoder(settings)
        pair = derive_pair(tokenizer)
        if pair is None:
            raise _no_template(profile)
        pairs = TemplatePairEncoder(tokenizer, pair, max_length, truncation)
        return CrossEncoder(identity, pairs, profile.query_prompt, settings.activation)
    single = derive_single(tokenizer)
    if single is None:
        raise _no_template(profile)
    return BiEncoder(
        identity,
        TextEncoder(tokenizer, single, max_length, truncation, "query"),
        profile.query_prompt,
        profile.text_prompt,
        profile.similarity,
        settings.truncate_dim or profile.dimensions,
        TextEncoder(tokenizer, single, max_length, truncation),
    )


def _no_template(profile: Profile) -> ModelLoadError:
    return ModelLoadError(
        f"[{profile.directory}]: its tokenizer adds special tokens in a way that the backend [onnx] does not "
        f"support; use the backend [torch], or {COPY_AGAIN}"
    )
