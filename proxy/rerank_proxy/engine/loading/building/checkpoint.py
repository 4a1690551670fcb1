"""Load a transformer and its tokenizer from files, and say in one line what is wrong with these.

Imports torch and transformers.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import torch
import transformers

from rerank_proxy.engine.encoding.tokenizer import Tokenizer
from rerank_proxy.engine.errors import ModelLoadError
from rerank_proxy.engine.loading.reading.model_files import COPY_AGAIN
from rerank_proxy.engine.loading.reading.profile import Profile
from rerank_proxy.engine.loading.tokenizers.json_tokenizer import put_in_lower_case
from rerank_proxy.observe.log import adopt_libraries

_MOST_DESCRIBED: Final = 2
"""config.json may describe this many times what the files hold: some weights are used in several places …"""

_FREE_NUMBERS: Final = 16 * 1024 * 1024
"""… and this many numbers more, for tables that are computed."""


def quieten() -> None:
    """Silence progress bars and advice for developers, which have no place in a server's log."""
    logging: Any = transformers.utils.logging
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    adopt_libraries()


def load_transformer(profile: Profile) -> Any:
    """Load the transformer in float32, in evaluation mode, with every weight from its files.

    Only one thread at a time may call it: transformers changes globals of torch meanwhile.

    Raises:
        ModelLoadError: It is not complete, not one label, or not a class of transformers.
    """
    config = _config(profile)
    if profile.classifies and config.num_labels != 1:
        labels = ", ".join(map(str, config.id2label.values()))
        raise ModelLoadError(
            f"[{profile.directory}] gives {config.num_labels} labels ({labels}); a reranker has exactly one"
        )
    if not profile.weights:
        raise ModelLoadError(f"[{profile.directory}] has no weights (model.safetensors); {COPY_AGAIN}")
    family = _family(config, profile)
    _check_size(profile, family, config)
    try:
        model, report = family.from_pretrained(
            profile.directory,
            config=config,
            dtype=torch.float32,
            output_loading_info=True,
            ignore_mismatched_sizes=True,  # `_check_complete` says better what does not match.
            **_local(profile),
        )
    except Exception as error:  # Damaged weights surface as errors of half a dozen libraries.
        raise ModelLoadError(_weights_problem(profile, error)) from error
    _check_complete(profile, type(model).__name__, report)
    model.config.use_cache = False  # A cache of keys and values serves generation, and takes memory.
    return model.eval()


def _local(profile: Profile) -> dict[str, bool]:
    return {"local_files_only": True, "trust_remote_code": profile.trusted}


def _check_complete(profile: Profile, architecture: str, report: Mapping[str, Any]) -> None:
    """Refuse missing weights, which transformers would fill in at random."""
    # What only pre-training used is left out of many checkpoints of encoders, and not used here either.
    missing = sorted(key for key in report["missing_keys"] if not (profile.head and "pooler." in key))
    mismatched = sorted(str(key) for key, *_ in report["mismatched_keys"])
    wrong = mismatched or missing
    if wrong:
        what = "are of another size than config.json says at" if mismatched else "lack"
        more = f" and {len(wrong) - 1} more" if len(wrong) > 1 else ""
        raise ModelLoadError(
            f"[{profile.directory}]: the weights of {architecture} {what} [{wrong[0]}]{more}; "
            f"the files are incomplete or of different models: {COPY_AGAIN}"
        )


def load_tokenizer(profile: Profile, model: Any) -> Tokenizer:
    """Load the tokenizer that belongs to the transformer.

    Raises:
        ModelLoadError: There is none, it cannot pad, or it does not fit the transformer.
    """
    where = profile.directory
    tokenizer = _read_tokenizer(where, profile)
    if tokenizer.pad_token_id is None:
        raise ModelLoadError(
            f"[{where}]: its tokenizer has no padding token, so texts cannot run in one batch"
        )
    embeddings = model.get_input_embeddings().num_embeddings
    _check_vocabulary(where, tokenizer, embeddings)
    if profile.do_lower_case and tokenizer.is_fast:
        put_in_lower_case(tokenizer.backend_tokenizer)
    if model.config.pad_token_id is None or hasattr(model, "score"):
        # Models that read the last token find it by this id, whatever their config.json says.
        model.config.pad_token_id = tokenizer.pad_token_id
    return Tokenizer(tokenizer)


def load_query_tokenizer(profile: Profile, where: Path, terms: int) -> Tokenizer:
    """Load the tokenizer of queries that have static weights.

    Args:
        terms: How many of them there are.

    Raises:
        ModelLoadError: There is none, or it does not fit the weights.
    """
    tokenizer = _read_tokenizer(where, profile)
    _check_vocabulary(where, tokenizer, terms)
    return Tokenizer(tokenizer)


def _read_tokenizer(where: Path, profile: Profile) -> Any:
    try:
        tokenizer = transformers.AutoTokenizer.from_pretrained(where, **_local(profile))
    except Exception as error:  # Each tokenizer class fails in its own way on bad files.
        raise ModelLoadError(f"[{where}]: its tokenizer cannot be loaded ({first_line(error)})") from error
    vocabularies = {"tokenizer.json", *tokenizer.vocab_files_names.values()}
    if not any((where / name).is_file() for name in vocabularies):
        # transformers makes an empty tokenizer then.
        raise ModelLoadError(f"[{where}] has no tokenizer (tokenizer.json); {COPY_AGAIN}")
    return tokenizer


def _check_vocabulary(where: Path, tokenizer: Any, embeddings: int) -> None:
    if len(tokenizer) > embeddings:
        raise ModelLoadError(
            f"[{where}]: its tokenizer has {len(tokenizer)} tokens and its weights know {embeddings}; "
            f"they do not belong together: {COPY_AGAIN}"
        )


def first_line(error: Exception) -> str:
    """Return the type and the first line of an error."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__


def _config(profile: Profile) -> Any:
    where = profile.directory
    try:
        config = transformers.AutoConfig.from_pretrained(where, **_local(profile))
    except Exception as error:  # transformers may raise anything for a config that it cannot use.
        raise ModelLoadError(f"[{where}]: its config.json cannot be used ({first_line(error)})") from error
    return config


def _check_size(profile: Profile, family: Any, config: Any) -> None:
    """Refuse a config.json that describes much more than the files hold: transformers would allocate it."""
    try:
        with torch.device("meta"):  # where nothing takes memory
            skeleton = family.from_config(config, trust_remote_code=profile.trusted)
    except Exception as error:  # transformers may raise anything for a config that it cannot use.
        raise ModelLoadError(
            f"[{profile.directory}]: its config.json cannot be used ({first_line(error)})"
        ) from error
    described = sum(each.numel() for each in (*skeleton.parameters(), *skeleton.buffers()))
    if described > _MOST_DESCRIBED * profile.weights + _FREE_NUMBERS:
        raise ModelLoadError(
            f"[{profile.directory}]: its config.json describes {described} weights, and its files hold "
            f"{profile.weights}; the files are incomplete or of different models: {COPY_AGAIN}"
        )


def _family(config: Any, profile: Profile) -> Any:
    if profile.classifies:
        return transformers.AutoModelForSequenceClassification
    if profile.decision is not None:
        return transformers.AutoModelForCausalLM
    if profile.sparse is not None:
        return transformers.AutoModelForMaskedLM
    return transformers.AutoModelForTextEncoding if config.is_encoder_decoder else transformers.AutoModel


def _weights_problem(profile: Profile, error: Exception) -> str:
    return f"[{profile.directory}]: its weights cannot be loaded ({first_line(error)}); {COPY_AGAIN}"
