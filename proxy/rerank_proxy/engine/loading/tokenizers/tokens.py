"""The tokens that are added to a vocabulary, and those that have names.

Source of the rules: `PreTrainedTokenizerBase._from_pretrained` and `TokenizersBackend.__init__` of
transformers. Without `added_tokens_decoder` in tokenizer_config.json, which older checkpoints do not
have, the tokens are those of special_tokens_map.json and tokenizer.json.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from tokenizers import AddedToken, Tokenizer

from rerank_proxy.engine.loading.reading.directory_check import read_json
from rerank_proxy.engine.loading.tokenizers.described import Described, UnusualTokenizerError
from rerank_proxy.engine.loading.tokenizers.options import EXTRA, NAMES, Options

Token = str | AddedToken

_FIELDS: Final[Mapping[str, type]] = {
    "content": str,
    "single_word": bool,
    "lstrip": bool,
    "rstrip": bool,
    "normalized": bool,
    "special": bool,
}


@dataclass(frozen=True, slots=True)
class Tokens:
    """The tokens of a checkpoint."""

    added: Mapping[int, AddedToken]
    """By the id that the files say."""
    named: Mapping[str, Token]
    """By name, those of the class included."""
    extra: tuple[str, ...]
    """Further ones, which have to be among those that are added."""

    def add_to(self, backend: Tokenizer) -> None:
        """Add the tokens to a tokenizer.

        Raises:
            UnusualTokenizerError: They have other ids then than the files say, or some are not known.
        """
        tokens: list[Token] = [self.added[number] for number in sorted(self.added)]
        known = {token.content for token in backend.get_added_tokens_decoder().values()}
        known |= {str(token) for token in tokens}
        tokens += [token for token in self._in_order() if str(token) not in known]
        special = {str(token) for token in self.named.values()}
        backend.add_tokens([_as_added(token, special) for token in tokens])
        for number, token in self.added.items():
            if backend.token_to_id(token.content) != number:
                raise UnusualTokenizerError(f"that gives the token [{token.content}] two ids")
        for text in self.extra:
            if text not in known:
                raise UnusualTokenizerError(f"with the further token [{text}]")

    def _in_order(self) -> Iterator[Token]:
        return (self.named[name] for name in NAMES if name in self.named)


def _as_added(token: Token, special: Iterable[str]) -> AddedToken:
    if isinstance(token, str):
        return AddedToken(token, special=True)
    if token.content in special:
        token.special = True
    return token


def read_tokens(
    directory: Path, options: Options, described: Described, of_class: Mapping[str, Token]
) -> Tokens:
    """Read the tokens of a directory.

    Args:
        of_class: Those that the class names. A class that has none may leave them out.

    Raises:
        UnusualTokenizerError: They are said in a way that is not known here.
        ModelLoadError: A file cannot be read.
    """
    said = options.tokens
    if options.added_tokens_decoder is not None:
        added = {_number(key): _token(value) for key, value in options.added_tokens_decoder.items()}
        named = _named(said, of_class)
    else:
        older = read_json(directory / "special_tokens_map.json", dict[str, Any]) or {}
        said = {**said, **older}
        added = {_number(value.get("id")): _token(value, "id") for value in described.added_tokens}
        _check_older(directory, added)
        named = _named(said, of_class, older)
    by_text = {token.content: token for token in added.values()}
    read = {name: by_text.get(str(token), token) for name, token in named.items() if name in said}
    return Tokens(added, {**of_class, **read}, tuple(_extra(said)))


def _named(
    said: Mapping[str, Any], of_class: Mapping[str, Token], older: Mapping[str, Any] | None = None
) -> dict[str, Token]:
    named: dict[str, Token] = {}
    for name, value in said.items():
        if name in EXTRA or (value is None and name not in of_class):
            continue
        if name not in NAMES:
            raise UnusualTokenizerError(f"with the token [{name}]")
        if isinstance(value, str):
            named[name] = _like(of_class.get(name), value)
        elif older is not None and name in older:
            named[name] = _token({**_object(value), "special": True})
        elif _object(value).get("__type") == "AddedToken":
            named[name] = _token(value, "__type")
        else:
            raise UnusualTokenizerError(f"with an unusual [{name}]")
    return named


def _like(default: Token | None, text: str) -> Token:
    """Return a text as a token that strips what the class's own strips, if the class says that."""
    if not isinstance(default, AddedToken):
        return text
    return AddedToken(text, lstrip=default.lstrip, rstrip=default.rstrip, special=True)


def _extra(said: Mapping[str, Any]) -> Iterator[str]:
    for name in EXTRA:
        values = said.get(name) or []
        if not isinstance(values, list):
            raise UnusualTokenizerError(f"with an unusual [{name}]")
        for value in values:
            text = value if isinstance(value, str) else _object(value).get("content")
            if not isinstance(text, str):
                raise UnusualTokenizerError(f"with an unusual [{name}]")
            yield text


def _check_older(directory: Path, added: Mapping[int, AddedToken]) -> None:
    """Refuse tokens of added_tokens.json that tokenizer.json does not have."""
    older = read_json(directory / "added_tokens.json", dict[str, Any]) or {}
    for text, number in older.items():
        if number not in added or added[number].content != text:
            raise UnusualTokenizerError(f"with the further token [{text}]")


def _token(value: Any, *more: str) -> AddedToken:
    fields = {name: each for name, each in _object(value).items() if name not in more}
    known = all(type(each) is _FIELDS.get(name) for name, each in fields.items())
    if not known or not fields.get("content"):
        raise UnusualTokenizerError(f"with the unusual token [{fields.get('content')}]")
    return AddedToken(**fields)


def _object(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _number(value: Any) -> int:
    """Return an id, which is a key in one of the files."""
    if not isinstance(value, int | str) or not str(value).isdecimal():
        raise UnusualTokenizerError(f"with a token of the id [{value}]")
    return int(value)
