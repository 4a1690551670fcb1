"""Load a model package. Imports torch."""

import hashlib
import logging
from collections.abc import Sequence
from typing import Final

import numpy as np
import torch

from rerank_proxy.engine.backends.device import budget_tokens, choose
from rerank_proxy.engine.backends.torchscript import TorchScriptBackend, load_program
from rerank_proxy.engine.encoding.encode import PairEncoder, TemplatePairEncoder, gathered
from rerank_proxy.engine.encoding.scorers import CrossEncoder
from rerank_proxy.engine.encoding.tokenizer import FastTokenizer
from rerank_proxy.engine.encoding.truncate import Truncation
from rerank_proxy.engine.encoding.windows import WindowPairEncoder
from rerank_proxy.engine.errors import ModelLoadError
from rerank_proxy.engine.loading.building.dividing import division
from rerank_proxy.engine.loading.loaded_model import (
    PORTION_TEXTS,
    LoadedModel,
    check_cross_encoder,
    portion_texts,
)
from rerank_proxy.engine.loading.packages.package import Package
from rerank_proxy.engine.loading.packages.tokenization import SPECIAL_TOKENS
from rerank_proxy.engine.loading.packages.tokenizer import build_tokenizer, pair_template, token_id
from rerank_proxy.engine.loading.reading import archives, model_files
from rerank_proxy.engine.rows import Row
from rerank_proxy.settings import EngineSettings, ModelSettings

_log = logging.getLogger(__name__)

_MIN_MAX_LENGTH: Final = 8
_PROBE_TEXTS: Final = ("a short text", "a text of another length, beside which some has to be filled up", "")
_LONGEST_PROBE: Final = 1024
"""Tokens. Longer rows would take minutes and gigabytes on a CPU, for texts that are seldom so long."""


def load_package(package: Package, settings: ModelSettings, engine: EngineSettings) -> LoadedModel:
    """Load a package as a cross-encoder.

    Raises:
        ModelLoadError: One line that names what is wrong and the remedy.
    """
    check_cross_encoder(settings)
    _ = package.sha256  # which checks the program
    archives.check(package.model_path)
    vocabulary = package.read_vocabulary()
    tokenization = package.tokenization
    max_length = _max_length(package, settings)
    truncation: Truncation = settings.truncation or tokenization.truncate
    divides = division(settings, max_length)
    run = (settings.activation, max_length, truncation, settings.windows, divides)
    identity = _fingerprint(package, run)
    template = pair_template(vocabulary, tokenization.kind)
    tokenizer = FastTokenizer(build_tokenizer(vocabulary, tokenization))
    pairs: PairEncoder = TemplatePairEncoder(tokenizer, template, max_length, truncation)
    if divides is not None:
        pairs = WindowPairEncoder(tokenizer, template, max_length, divides)
    cut = TemplatePairEncoder(tokenizer, template, max_length, "balanced")
    longest = _longest(max_length, len(vocabulary.vocabulary))
    probes = [*gathered(cut.encode("a query", _PROBE_TEXTS)), longest]
    pad_id = token_id(vocabulary, SPECIAL_TOKENS[tokenization.kind].pad)
    backends, places = _backends(package, choose(engine), pad_id, max_length, probes)
    info = {
        "kind": "cross-encoder",
        "architecture": f"TorchScript ({tokenization.kind})",
        "device": ", ".join(map(str, places)),
        "precision": "fp32",
        "padded": "true",
        "max_length": str(max_length),
        "fingerprint": identity,
    }
    reduction = settings.windows or "max"
    scorer = CrossEncoder(identity, pairs, activation=settings.activation, reduction=reduction)
    most = 1 if divides is None else divides.most
    portion, budget = portion_texts(PORTION_TEXTS, most), budget_tokens(engine, places[0])
    return LoadedModel(scorer, backends[0], budget, info, portion, most, backends[1:])


def _max_length(package: Package, settings: ModelSettings) -> int:
    max_length = settings.max_length or package.tokenization.max_sequence_length
    if max_length < _MIN_MAX_LENGTH:
        raise ModelLoadError(
            f"[{package.directory}]: max_length {max_length} leaves no room for query and text"
        )
    return max_length


def _fingerprint(package: Package, run: tuple[object, ...]) -> str:
    """Return a SHA-256 in hex over all that determines a score: the files, and how they are run."""
    with model_files.opened(package.vocabulary_path) as file:
        vocabulary = hashlib.file_digest(file, "sha256").hexdigest()
    whole = (*run, package.tokenization, package.sha256, vocabulary)
    return hashlib.sha256(repr(whole).encode()).hexdigest()


def _longest(max_length: int, tokens: int) -> Row:
    """Return a row of the greatest length, with ids of the whole vocabulary, the last one included."""
    length = min(max_length, _LONGEST_PROBE)
    ids = np.linspace(0, tokens - 1, length).astype(np.int32)
    return Row(ids, np.zeros(length, np.uint8), False)


def _backends(
    package: Package, places: Sequence[torch.device], pad_id: int, max_length: int, probes: Sequence[Row]
) -> tuple[list[TorchScriptBackend], Sequence[torch.device]]:
    """Load the program on each device, or on the CPU if it is tied to that. Return where it is, too."""
    try:
        return [_settled(package, place, pad_id, max_length, probes) for place in places], places
    except ModelLoadError as error:
        if places[0].type == "cpu":
            raise
        _log.warning("[%s] does not run on %s and is run on the CPU: %s", package.name, places[0], error)
        cpu = torch.device("cpu")
        return [_settled(package, cpu, pad_id, max_length, probes)], [cpu]


def _settled(
    package: Package, place: torch.device, pad_id: int, max_length: int, probes: Sequence[Row]
) -> TorchScriptBackend:
    path = package.model_path
    backend = TorchScriptBackend(load_program(path, place), place, pad_id, max_length)
    try:
        backend.settle(probes)
    except ModelLoadError as error:
        raise ModelLoadError(f"[{path}]: {error}") from error
    return backend
