"""Load a model of transformers with torch, which this imports: import it on a thread."""

import copy
import hashlib
import threading
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import torch

from rerank_proxy.concurrency.collection import no_collection
from rerank_proxy.engine.backends.cpu import batch_threads
from rerank_proxy.engine.backends.device import budget_tokens, choose
from rerank_proxy.engine.encoding.scorers import Scorer
from rerank_proxy.engine.encoding.tokenizer import Tokenizer
from rerank_proxy.engine.encoding.truncate import DEFAULT_TRUNCATION
from rerank_proxy.engine.loading.building import plain
from rerank_proxy.engine.loading.building.dividing import division
from rerank_proxy.engine.loading.building.late import PORTION_TEXTS as PORTION_OF_VECTORS
from rerank_proxy.engine.loading.building.networks import Network, build_network
from rerank_proxy.engine.loading.building.scorer_choice import build_scorer
from rerank_proxy.engine.loading.choosing.other_libraries import with_other_libraries
from rerank_proxy.engine.loading.choosing.precision import TORCH, Chosen, Ways, choose_precision
from rerank_proxy.engine.loading.choosing.ways import ways_to_run
from rerank_proxy.engine.loading.loaded_model import PORTION_TEXTS, LoadedModel, portion_texts
from rerank_proxy.engine.loading.reading import profile as profiles
from rerank_proxy.engine.loading.reading.limits import max_length
from rerank_proxy.engine.loading.reading.profile import Profile
from rerank_proxy.engine.loading.sources.source import fingerprint
from rerank_proxy.engine.loading.sources.weights_size import size_of_weights
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
        profile, places = profiles.read(directory, settings), choose(engine)
    wait_for_memory(size_of_weights(profile.directory, _number_bytes(engine, places)))
    with _building, watch():
        model, tokenizer = _read(profile, places[0])
    with watch():
        return _loaded(directory, profile, places, model, tokenizer, settings, engine)


def _read(profile: Profile, place: torch.device) -> tuple[Any, Tokenizer]:
    """Return the transformer and its tokenizer: an ordinary one without transformers, all others with it."""
    ordinary = plain.load(profile) if place.type == "cpu" else None
    if ordinary is not None:
        return ordinary
    # Imported here, where it is known to be needed: transformers takes longer than all else until a score.
    with no_collection():
        from rerank_proxy.engine.loading.building.checkpoint import load_tokenizer, load_transformer, quieten

    quieten()
    model = load_transformer(profile)
    return model, load_tokenizer(profile, model)


def _loaded(
    directory: Path,
    profile: Profile,
    places: Sequence[torch.device],
    model: Any,
    tokenizer: Tokenizer,
    settings: ModelSettings,
    engine: EngineSettings,
) -> LoadedModel:
    longest = max_length(profile, settings, model, tokenizer)
    files = fingerprint(directory, _run(settings, longest))

    def scorer(identity: str) -> Scorer:
        return build_scorer(profile, settings, model, tokenizer, longest, identity)

    network = build_network(profile, settings, model, tokenizer)
    probing = scorer(files)

    def ways(network: Network, place: torch.device) -> Ways:
        return ways_to_run(network, place, tokenizer, probing, batch_threads(engine.threads, engine.workers))

    all_ways = ways(network, places[0])
    if engine.precision == "auto" and places[0].type == "cpu":
        all_ways = with_other_libraries(all_ways, network, tokenizer, profile, directory, engine, files)
    chosen = choose_precision(settings.source, engine, all_ways, probing, files)
    copies = [ways(copy.deepcopy(network).cpu(), place).build[chosen.precision]() for place in places[1:]]
    identity = hashlib.sha256(f"{files} {chosen}".encode()).hexdigest()
    info = {**_about(profile, places, model, chosen), "max_length": str(longest), "fingerprint": identity}
    divides = division(settings, longest)
    most_windows = 1 if divides is None else divides.most
    return LoadedModel(
        scorer(identity),
        chosen.backend,
        budget_tokens(engine, places[0]),
        info,
        portion_texts(_portion(profile), most_windows),
        most_windows,
        copies,
        _count_numbers(network) * _number_bytes(engine, places),
    )


def _about(profile: Profile, places: Sequence[torch.device], model: Any, chosen: Chosen) -> dict[str, str]:
    by = "" if chosen.library == TORCH else f" ({chosen.library})"
    return {
        "kind": profile.kind,
        "architecture": type(model).__name__ + by,
        "library": chosen.library,
        "device": ", ".join(map(str, places)),
        "precision": chosen.precision,
        "padded": str(chosen.backend.padded).lower(),
    }


def _portion(profile: Profile) -> int:
    gives_one_array = profile.late is None and profile.sparse is None
    return PORTION_TEXTS if gives_one_array else PORTION_OF_VECTORS


def _count_numbers(network: Network) -> int:
    return sum(each.numel() for each in (*network.parameters(), *network.buffers()))


def _run(settings: ModelSettings, longest: int) -> dict[str, object]:
    """Return what determines a score beside the files."""
    return {
        "revision": settings.revision,
        "max_length": longest,
        "truncation": settings.truncation or DEFAULT_TRUNCATION,
        "windows": (settings.windows, settings.window_overlap, settings.max_windows),
        "activation": settings.activation,
        "template": settings.template,
        "instruction": settings.instruction,
        "cutoff_layer": settings.cutoff_layer,
        "trust_remote_code": settings.trust_remote_code,
    }


def _number_bytes(engine: EngineSettings, places: Sequence[torch.device]) -> int:
    """Return the bytes of a weight, with its copies.

    What is in float32 stays in memory, beside what is not, except on GPUs.
    """
    whole = places[0].type != "cuda" or engine.precision == "fp32"
    return len(places) * (4 if whole else 2)
