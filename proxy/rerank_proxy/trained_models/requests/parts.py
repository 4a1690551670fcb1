"""The bodies that upload a model: parts of its program (``PutTrainedModelDefinitionPartAction``) and its
vocabulary (``PutTrainedModelVocabularyAction``).
"""

import binascii
from dataclasses import dataclass
from typing import Final

import msgspec

from rerank_proxy.engine.loading.packages.vocabulary import MAX_TOKENS, MAX_VOCABULARY_BYTES, Vocabulary
from rerank_proxy.errors import validation_error
from rerank_proxy.trained_models.failures import bad_request
from rerank_proxy.xcontent.object_parser import (
    INT,
    STRS,
    Field,
    illegal_argument,
    java_number,
    numeric,
    parse_object,
    to_list,
)
from rerank_proxy.xcontent.source import ARRAY, NUMBER, STRING, Node, parse

MAX_PARTS: Final = 10_000

_MOST_VALUES: Final = 4 * MAX_TOKENS
"""Tokens, scores and merges together; they are counted by commas, those inside tokens included."""

_PIECE: Final = 4 * 256 * 1024
"""Characters of base64, of which four make three bytes."""


@dataclass(frozen=True, slots=True)
class DefinitionPart:
    """One part of a program.

    Attributes:
        number: From 0.
        total_length: The length of the whole program in bytes.
    """

    number: int
    content: bytes
    total_length: int
    total_parts: int


def parse_part(number: int, body: bytes) -> DefinitionPart:
    """Read a part of a program.

    Raises:
        ElasticsearchError: 400, as Elasticsearch words it.
    """
    values = parse_object(parse(body), "put_trained_model_part_action", _PART)
    if "definition" not in values:
        raise illegal_argument("[definition] must not be null.")
    part = DefinitionPart(
        number, values["definition"], values.get("total_definition_length", 0), values.get("total_parts", 0)
    )
    faults = []
    if part.number < 0:
        faults.append("[part] must be greater or equal to 0")
    if part.total_parts <= 0:
        faults.append("[total_parts] must be greater than 0")
    if part.total_parts > MAX_PARTS:
        faults.append(f"[total_parts] must be less than or equal to {MAX_PARTS}")
    if part.total_length <= 0:
        faults.append("[total_definition_length] must be greater than 0")
    if part.number >= part.total_parts:
        faults.append("[part] must be less than total_parts")
    if faults:
        raise validation_error(faults)
    return part


def parse_vocabulary(body: bytes) -> Vocabulary:
    """Read a vocabulary. One that is far too large is refused before it is parsed.

    Raises:
        ElasticsearchError: 400, as Elasticsearch words it.
    """
    if len(body) > MAX_VOCABULARY_BYTES:
        raise bad_request(
            f"the vocabulary has [{len(body)}] bytes; at most [{MAX_VOCABULARY_BYTES}] are accepted"
        )
    if (values_at_most := body.count(b",") + 1) > _MOST_VALUES:
        raise bad_request(
            f"the vocabulary has [{values_at_most}] values; at most [{MAX_TOKENS}] tokens are accepted, with "
            "a score each and as many merges"
        )
    values = parse_object(parse(body), "put_trained_model_vocabulary", _VOCABULARY)
    if "vocabulary" not in values:
        raise illegal_argument("[vocabulary] must not be null.")
    tokens, scores = values["vocabulary"], values.get("scores", ())
    if not tokens:
        raise validation_error(["[vocabulary] must not be empty"])
    if scores and len(scores) != len(tokens):
        raise validation_error(["[scores] must have same length as [vocabulary]"])
    return Vocabulary(list(tokens), list(values.get("merges", ())), list(scores))


def _base64(node: Node) -> bytes:
    """Decode base64 as Jackson does: no line feeds, nothing outside the alphabet, padding required."""
    text = memoryview(node.raw[1:-1].replace(b"\\/", b"/"))
    # In pieces, because no other thread runs while one is decoded.
    pieces = [text[start : start + _PIECE] for start in range(0, len(text), _PIECE)]
    try:
        if any(bytes(piece[-1:]) == b"=" for piece in pieces[:-1]):
            raise binascii.Error("Excess data after padding")
        return b"".join([binascii.a2b_base64(piece, strict_mode=True) for piece in pieces])
    except binascii.Error as problem:
        raise illegal_argument(
            f"Failed to decode VALUE_STRING as base64 (MIME-NO-LINEFEEDS): {problem}"
        ) from None


def _to_long(node: Node) -> int:
    number = java_number(node.scalar()) if node.kind == STRING else float(node.raw)
    return int(number) if abs(number) < 2**63 else 0


def _strings(node: Node) -> tuple[str, ...]:
    """Read strings as ``declareStringArray`` does."""
    try:  # in one go, as a vocabulary has some 100,000 tokens
        tokens = tuple(msgspec.json.decode(node.raw, type=list[str]))
    except (msgspec.DecodeError, UnicodeDecodeError):
        tokens = STRS.convert(node)
    if not all(map(_is_text, tokens)):
        raise illegal_argument("a token holds half of a surrogate pair, which no tokenizer can read")
    return tokens


def _is_text(token: str) -> bool:
    return token.isascii() or not any("\ud800" <= character <= "\udfff" for character in token)


def _doubles(node: Node) -> tuple[float, ...]:
    try:
        return tuple(msgspec.json.decode(node.raw, type=list[float]))
    except (msgspec.DecodeError, UnicodeDecodeError):
        return to_list(_to_double)(node)


def _to_double(node: Node) -> float:
    return java_number(node.scalar()) if numeric(node).kind == STRING else float(node.raw)


_PART: Final = {
    "definition": Field(frozenset({STRING}), _base64),
    "total_definition_length": Field(frozenset({NUMBER, STRING}), _to_long),
    "total_parts": INT,
}
_VOCABULARY: Final = {
    "vocabulary": Field(frozenset({STRING, ARRAY}), _strings),
    "merges": Field(frozenset({STRING, ARRAY}), _strings),
    "scores": Field(frozenset({NUMBER, STRING, ARRAY}), _doubles),
}
