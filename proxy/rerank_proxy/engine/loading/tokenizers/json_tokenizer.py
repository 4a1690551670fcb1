"""Build a checkpoint's tokenizer from its JSON files, without transformers.

transformers makes the tokenizers of some classes anew from the vocabulary and the options of
tokenizer_config.json, whatever else tokenizer.json says of them. The same is done here (`classes.py`) from
the same tokens (`tokens.py`); what is not understood is refused, as the tokens might be other ones.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import msgspec
from tokenizers import Encoding, Tokenizer, normalizers

from rerank_proxy.engine.errors import ModelLoadError
from rerank_proxy.engine.loading.reading import model_files
from rerank_proxy.engine.loading.reading.directory_check import read_json
from rerank_proxy.engine.loading.tokenizers.classes import CLASSES, CLASSES_OF_TYPES, Recipe
from rerank_proxy.engine.loading.tokenizers.described import Described, UnusualTokenizerError
from rerank_proxy.engine.loading.tokenizers.options import Options, read_options
from rerank_proxy.engine.loading.tokenizers.tokens import Tokens, read_tokens

_MAX_BYTES: Final = 128 * 1024 * 1024
"""Of tokenizer.json. `directory_check` has refused longer ones already."""

_EXPORT: Final = "export it into a directory of its own with `rerank-proxy export`, which writes one that can"


class JsonTokenizer:
    """The part of a tokenizer of transformers that the engine uses, with its names."""

    is_fast: Final = True

    def __init__(
        self, backend: Tokenizer, pad_token_id: int, model_max_length: int, inputs: Sequence[str]
    ) -> None:
        self.backend_tokenizer = backend
        self.pad_token_id = pad_token_id
        self.model_max_length = model_max_length
        self.model_input_names = list(inputs)

    def __len__(self) -> int:
        return self.backend_tokenizer.get_vocab_size(with_added_tokens=True)

    def __call__(
        self, texts: Sequence[str], pairs: Sequence[str] | None = None
    ) -> dict[str, list[list[int]]]:
        """Return ids, and segment ids if it has these, of texts or of pairs, with special tokens."""
        inputs: Any = list(texts) if pairs is None else list(zip(texts, pairs, strict=True))
        encodings: list[Encoding] = self.backend_tokenizer.encode_batch(inputs, add_special_tokens=True)
        rows = {"input_ids": [each.ids for each in encodings]}
        if "token_type_ids" in self.model_input_names:
            rows["token_type_ids"] = [each.type_ids for each in encodings]
        return rows


class _Config(msgspec.Struct):
    """config.json, as far as it matters here."""

    model_type: str | None = None
    tokenizer_class: str | None = None


def read_tokenizer(directory: Path, *, lower_case: bool = False) -> JsonTokenizer:
    """Read the tokenizer of a directory, with the ids that `AutoTokenizer` of transformers gives.

    Args:
        lower_case: Put texts in lower case before everything else, as sentence-transformers can.

    Raises:
        UnusualTokenizerError: The files say something for which transformers is needed.
        ModelLoadError: They cannot be read.
    """
    try:
        return _read(directory, lower_case)
    except UnusualTokenizerError as error:
        raise UnusualTokenizerError(
            f"[{directory}] has a tokenizer {error}, which cannot be built without transformers; {_EXPORT}"
        ) from error.__cause__


def _read(directory: Path, lower_case: bool) -> JsonTokenizer:
    options = read_options(directory)
    recipe = _recipe(directory, options)
    content = _content(directory)
    described = Described.of(content)
    tokens = read_tokens(directory, options, described, recipe.tokens)
    backend = _built(recipe, content, described, options, tokens)
    backend.no_truncation()
    backend.no_padding()
    if lower_case:
        put_in_lower_case(backend)
    inputs = options.model_input_names or recipe.inputs
    return JsonTokenizer(backend, _pad_id(directory, backend, described, tokens), options.limit, inputs)


def put_in_lower_case(tokenizer: Any) -> None:
    """Have texts put in lower case before everything else, as sentence-transformers does."""
    normalizer = tokenizer.normalizer
    lower = normalizers.Lowercase()
    tokenizer.normalizer = normalizers.Sequence([lower, normalizer] if normalizer else [lower])


def _recipe(directory: Path, options: Options) -> Recipe:
    """Return how the class is built that `AutoTokenizer` chooses."""
    config = read_json(directory / "config.json", _Config) or _Config()
    of_type = CLASSES_OF_TYPES.get(config.model_type or "")
    named = options.tokenizer_class or config.tokenizer_class or of_type
    name = (named or "unknown").removesuffix("Fast")
    if of_type == "TokenizersBackend":  # Whatever the files name for these types, it is known to be wrong.
        name = of_type
    recipe = CLASSES.get(name)
    if recipe is None or (recipe.made_anew and of_type is None):
        raise UnusualTokenizerError(f"of the class [{name}]")
    return recipe


def _built(
    recipe: Recipe, content: bytes, described: Described, options: Options, tokens: Tokens
) -> Tokenizer:
    try:
        return recipe.build(content, described, options, tokens)
    except UnusualTokenizerError:
        raise
    except Exception as error:  # The library tokenizers raises nothing more specific.
        raise UnusualTokenizerError(f"of unusual contents ({' '.join(str(error).split())})") from error


def _content(directory: Path) -> bytes:
    try:
        return model_files.read(directory / "tokenizer.json", _MAX_BYTES)
    except FileNotFoundError:
        raise UnusualTokenizerError("without tokenizer.json") from None


def _pad_id(directory: Path, backend: Tokenizer, described: Described, tokens: Tokens) -> int:
    padding = tokens.named.get("pad_token")
    if padding is None and described.padding is not None:
        padding = described.padding.pad_token
    number = None if padding is None else backend.token_to_id(str(padding))
    if number is None:
        raise ModelLoadError(
            f"[{directory}]: its tokenizer has no padding token, so texts cannot run in one batch"
        )
    return number
