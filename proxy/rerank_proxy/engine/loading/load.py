"""Load a model of transformers with torch, which this imports: import it on a thread."""

import hashlib
import inspect
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Final

import torch

from rerank_proxy.engine.backends.device import budget_tokens, choose
from rerank_proxy.engine.backends.networks import Classifier, Encoder
from rerank_proxy.engine.backends.padded import PaddedTorchBackend
from rerank_proxy.engine.encoding.encode import (
    PairEncoder,
    PlainPairEncoder,
    TemplatePairEncoder,
    TextEncoder,
    derive_pair,
    derive_single,
)
from rerank_proxy.engine.encoding.scorers import BiEncoder, CrossEncoder, Scorer
from rerank_proxy.engine.encoding.tokenizer import Tokenizer
from rerank_proxy.engine.encoding.truncate import Truncation
from rerank_proxy.engine.errors import ModelLoadError
from rerank_proxy.engine.loading import profile as profiles
from rerank_proxy.engine.loading.checkpoint import load_tokenizer, load_transformer, position_limit, quieten
from rerank_proxy.engine.loading.head import build_head
from rerank_proxy.engine.loading.loaded_model import LoadedModel, check_cross_encoder
from rerank_proxy.engine.loading.precision import choose_precision
from rerank_proxy.engine.loading.profile import Profile
from rerank_proxy.engine.loading.source import fingerprint
from rerank_proxy.engine.loading.ways import Network, ways_to_run
from rerank_proxy.settings import EngineSettings, ModelSettings

_DEFAULT_MAX_LENGTH: Final = 512
_MIN_MAX_LENGTH: Final = 8
_DEFAULT_TRUNCATION: Final = "balanced"

_building = threading.Lock()


def load_checkpoint(
    directory: Path,
    settings: ModelSettings,
    engine: EngineSettings,
    watch: Callable[[], AbstractContextManager[None]],
) -> LoadedModel:
    """Load the weights of a directory.

    Args:
        watch: Watches that what is done within returns in time. Waiting for other models to be built is not
            watched.

    Raises:
        ModelLoadError: One line that names the source, what is wrong, and the remedy.
    """
    with watch():
        profile, place = profiles.read(directory), choose(engine)
    with _building, watch():
        quieten()
        model = load_transformer(profile)
        tokenizer = load_tokenizer(profile, model)
    with watch():
        return _loaded(directory, profile, place, model, tokenizer, settings, engine)


def _loaded(
    directory: Path,
    profile: Profile,
    place: torch.device,
    model: Any,
    tokenizer: Tokenizer,
    settings: ModelSettings,
    engine: EngineSettings,
) -> LoadedModel:
    max_length = _max_length(profile, settings, model, tokenizer)
    run = {
        "revision": settings.revision,
        "max_length": max_length,
        "truncation": settings.truncation or _DEFAULT_TRUNCATION,
        "activation": settings.activation,
    }
    files = fingerprint(directory, run)
    probing = _scorer(profile, settings, tokenizer, max_length, files)

    def padded(network: Network) -> PaddedTorchBackend:
        return PaddedTorchBackend(
            network.to(place),
            place,
            tokenizer.transformers.pad_token_id,
            type_ids=takes_type_ids(model, tokenizer),
            counted_id=_counted_id(network),
            fills=not _reads_the_end(network),
        )

    ways = ways_to_run(_network(profile, model), place, padded, probing)
    precision, backend = choose_precision(settings.source, engine, ways, probing, files)
    identity = hashlib.sha256(f"{files} {precision}".encode()).hexdigest()
    scorer = _scorer(profile, settings, tokenizer, max_length, identity)
    info = {
        "kind": profile.kind,
        "architecture": type(model).__name__,
        "device": str(place),
        "precision": precision,
        "padded": str(backend.padded).lower(),
        "max_length": str(max_length),
        "fingerprint": identity,
    }
    return LoadedModel(scorer, backend, budget_tokens(engine, place), info)


def _max_length(profile: Profile, settings: ModelSettings, model: Any, tokenizer: Tokenizer) -> int:
    """Return the most tokens of a row, as the settings say, or the configs of the model and its tokenizer."""
    hard = position_limit(model)
    wanted = settings.max_length
    if wanted is not None and hard is not None and wanted > hard:
        raise ModelLoadError(
            f"[{settings.source}] has positions for {hard} tokens; max_length {wanted} is too much"
        )
    if wanted is None:
        declared = profile.max_length or tokenizer.transformers.model_max_length
        limits = [declared, hard, getattr(model.config, "max_position_embeddings", None)]
        wanted = min(_known(limits), default=_DEFAULT_MAX_LENGTH)
    if wanted < _MIN_MAX_LENGTH:
        raise ModelLoadError(f"[{settings.source}]: max_length {wanted} leaves no room for query and text")
    return wanted


def _known(limits: list[int | None]) -> list[int]:
    """Leave out absent limits, and the numbers by which tokenizers and configs mean "no limit"."""
    return [limit for limit in limits if limit is not None and 0 < limit < 10**9]


def _network(profile: Profile, model: Any) -> Network:
    if not profile.head:
        return Classifier(model).eval()
    return Encoder(model, build_head(profile.head)).eval()


def _counted_id(network: Network) -> int | None:
    """Return the token that all rows of a batch must have equally often; None for most models.

    Classifiers of encoder-decoders (BART, T5 and similar) read the output at the last end of a sequence, and
    refuse rows that have different numbers of ends in one batch.
    """
    config = network.model.config
    ends = getattr(config, "eos_token_id", None)
    counts = isinstance(network, Classifier) and getattr(config, "is_encoder_decoder", False)
    return ends if counts and isinstance(ends, int) else None


def _reads_the_end(network: Network) -> bool:
    """Return whether the output is read at the last position, padding or not, as XLNet's classifier does."""
    return isinstance(network, Classifier) and getattr(network.model.config, "summary_type", None) == "last"


def takes_type_ids(model: Any, tokenizer: Tokenizer) -> bool:
    """Return whether the model takes segment ids, and its tokenizer gives them."""
    return tokenizer.gives_type_ids and "token_type_ids" in inspect.signature(model.forward).parameters


def _scorer(
    profile: Profile, settings: ModelSettings, tokenizer: Tokenizer, max_length: int, identity: str
) -> Scorer:
    if profile.kind == "cross-encoder":
        check_cross_encoder(settings)
        pairs = _pair_encoder(tokenizer, max_length, settings.truncation or _DEFAULT_TRUNCATION)
        return CrossEncoder(identity, pairs, profile.query_prompt, settings.activation)
    template = derive_single(tokenizer)
    if template is None:
        raise ModelLoadError(
            f"[{settings.source}]: its tokenizer adds special tokens in a way that is not supported"
        )
    encoder = TextEncoder(tokenizer, template, max_length)
    return BiEncoder(
        identity,
        encoder,
        profile.query_prompt,
        profile.text_prompt,
        profile.similarity,
        settings.truncate_dim,
    )


def _pair_encoder(tokenizer: Tokenizer, max_length: int, truncation: Truncation) -> PairEncoder:
    template = derive_pair(tokenizer)
    if template is None:
        return PlainPairEncoder(tokenizer, max_length, truncation)
    return TemplatePairEncoder(tokenizer, template, max_length, truncation)
