"""The most tokens of a row."""

from typing import Any, Final

from torch import nn

from rerank_proxy.engine.encoding.tokenizer import Tokenizer
from rerank_proxy.engine.errors import ModelLoadError
from rerank_proxy.engine.loading.reading.profile import Profile
from rerank_proxy.engine.loading.reading.templates import TEMPLATES
from rerank_proxy.settings import ModelSettings

_DEFAULT_MAX_LENGTH: Final = 512
_MIN_MAX_LENGTH: Final = 8


def max_length(profile: Profile, settings: ModelSettings, model: Any, tokenizer: Tokenizer) -> int:
    """Return the most tokens of a row, as the settings say, or the configs of the model and its tokenizer.

    Raises:
        ModelLoadError: The settings ask for more than the model has positions for, or for too few.
    """
    hard = position_limit(model)
    wanted = settings.max_length
    if wanted is not None and hard is not None and wanted > hard:
        raise ModelLoadError(
            f"[{settings.source}] has positions for {hard} tokens; max_length {wanted} is too much"
        )
    if wanted is None:
        template = None if profile.template is None else TEMPLATES[profile.template].max_length
        declared = template or profile.max_length or tokenizer.transformers.model_max_length
        limits = [declared, hard, getattr(model.config, "max_position_embeddings", None)]
        wanted = min(_known(limits), default=_DEFAULT_MAX_LENGTH)
    if wanted < _MIN_MAX_LENGTH:
        raise ModelLoadError(f"[{settings.source}]: max_length {wanted} leaves no room for query and text")
    return wanted


def position_limit(model: Any) -> int | None:
    """Return the tokens for which the model has position embeddings; None for relative or rotary ones."""
    for name, module in model.named_modules():
        if name.endswith("position_embeddings") and isinstance(module, nn.Embedding):
            # RoBERTa and similar models count from behind the padding id.
            unused = 0 if module.padding_idx is None else module.padding_idx + 1
            return module.num_embeddings - unused
    return None


def _known(limits: list[int | None]) -> list[int]:
    """Leave out absent limits, and the numbers by which tokenizers and configs mean "no limit"."""
    return [limit for limit in limits if limit is not None and 0 < limit < 10**9]
