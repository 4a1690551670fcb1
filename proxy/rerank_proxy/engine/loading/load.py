"""Load a model of transformers with torch, which this imports: import it on a thread."""

import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from rerank_proxy.concurrency.collection import no_collection
from rerank_proxy.engine.backends.device import Device, budget_tokens, choose
from rerank_proxy.engine.encoding.tokenizer import Tokenizer
from rerank_proxy.engine.encoding.truncate import DEFAULT_TRUNCATION
from rerank_proxy.engine.loading import plain_bert
from rerank_proxy.engine.loading import profile as profiles
from rerank_proxy.engine.loading.backend_choice import choose_backend
from rerank_proxy.engine.loading.limits import max_length
from rerank_proxy.engine.loading.load_late import PORTION_TEXTS as PORTION_OF_VECTORS
from rerank_proxy.engine.loading.loaded_model import PORTION_TEXTS, LoadedModel, portion_texts
from rerank_proxy.engine.loading.networks import build_network
from rerank_proxy.engine.loading.profile import Profile
from rerank_proxy.engine.loading.scorer_choice import build_scorer
from rerank_proxy.engine.loading.source import fingerprint
from rerank_proxy.engine.loading.weights_size import size_of_weights
from rerank_proxy.settings import EngineSettings, ModelSettings

_building = threading.Lock()


def load_checkpoint(
    directory: Path,
    settings: ModelSettings,
    engine: EngineSettings,
    watch: Callable[[], AbstractContextManager[None]],
    wait_for_memory: Callable[[int], None],
) -> LoadedModel:
    """Load the weights of a directory.

    Args:
        watch: Watches that what is done within returns in time. Waiting for other models to be built is not
            watched.
        wait_for_memory: Called with the bytes that the weights will take. Returns when there is room.

    Raises:
        ModelLoadError: One line that names the source, what is wrong, and the remedy.
    """
    with watch():
        profile, device = profiles.read(directory, settings), choose(engine)
    wait_for_memory(size_of_weights(profile.directory, device.dtype.itemsize))
    with _building, watch():
        model, tokenizer = _read(profile, device)
    with watch():
        return _loaded(directory, profile, device, model, tokenizer, settings, engine)


def _read(profile: Profile, device: Device) -> tuple[Any, Tokenizer]:
    """Return the transformer and its tokenizer: an ordinary BERT without transformers, all others with it."""
    ordinary = plain_bert.load(profile) if device.runs_packed else None
    if ordinary is not None:
        return ordinary
    # Imported here, where it is known to be needed: transformers takes longer than all else until a score.
    with no_collection():
        from rerank_proxy.engine.loading.checkpoint import load_tokenizer, load_transformer, quieten

    quieten()
    model = load_transformer(profile)
    return model, load_tokenizer(profile, model)


def _loaded(
    directory: Path,
    profile: Profile,
    device: Device,
    model: Any,
    tokenizer: Tokenizer,
    settings: ModelSettings,
    engine: EngineSettings,
) -> LoadedModel:
    longest = max_length(profile, settings, model, tokenizer)
    run = {
        "revision": settings.revision,
        "max_length": longest,
        "truncation": settings.truncation or DEFAULT_TRUNCATION,
        "windows": (settings.windows, settings.window_overlap, settings.max_windows),
        "activation": settings.activation,
        "template": settings.template,
        "instruction": settings.instruction,
        "cutoff_layer": settings.cutoff_layer,
        "dtype": device.dtype_name,
    }
    identity = fingerprint(directory, run)
    scorer = build_scorer(profile, settings, model, tokenizer, longest, identity)
    network = build_network(profile, settings, model, tokenizer, device)
    backend = choose_backend(network, device, tokenizer, scorer)
    info = {
        "kind": profile.kind,
        "architecture": type(model).__name__,
        "device": str(device.place),
        "dtype": device.dtype_name,
        "padded": str(backend.padded).lower(),
        "max_length": str(longest),
        "fingerprint": identity,
    }
    size_bytes = sum(each.nbytes for each in (*network.parameters(), *network.buffers()))
    most_windows = 1 if settings.windows is None else settings.max_windows
    portion = portion_texts(PORTION_TEXTS if profile.late is None else PORTION_OF_VECTORS, most_windows)
    budget = budget_tokens(engine, device.place)
    return LoadedModel(scorer, backend, budget, info, portion, most_windows, size_bytes)
