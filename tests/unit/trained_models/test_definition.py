"""Put a program together from its parts, however they come."""

from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rerank_proxy.errors import ElasticsearchError
from rerank_proxy.trained_models.definition import PartialDefinition
from rerank_proxy.trained_models.requests.parts import DefinitionPart
from tests.support.trained_models import parts_of

PROGRAM = bytes(range(256)) * 4


@st.composite
def sendings(draw: st.DrawFn) -> tuple[bytes, list[DefinitionPart]]:
    """Draw a program and its parts as a client may send them: in any order, each once or more often."""
    lengths = draw(st.lists(st.integers(0, 50), min_size=1, max_size=8).filter(any))
    program = draw(st.binary(min_size=sum(lengths), max_size=sum(lengths)))
    parts = parts_of(program, lengths)
    again = draw(st.lists(st.sampled_from(parts), max_size=6))
    return program, draw(st.permutations([*parts, *again]))


@given(sendings())
def test_any_order_and_repetition_of_parts_gives_the_program(
    sent: tuple[bytes, list[DefinitionPart]],
) -> None:
    program, parts = sent
    with TemporaryDirectory() as directory:
        definition = PartialDefinition("mine", Path(directory), 1000)
        needed = {part.number for part in parts}
        for part in parts:
            assert not definition.complete or not needed
            definition.put(part)
            needed.discard(part.number)
            assert definition.complete is not bool(needed)
        assert definition.total_length == definition.received == len(program)
        definition.assemble(Path(directory) / "whole")
        assert (Path(directory) / "whole").read_bytes() == program


@pytest.fixture
def definition(tmp_path: Path) -> PartialDefinition:
    return PartialDefinition("mine", tmp_path, 2000)


def test_a_part_that_comes_again_takes_the_place_of_the_first(
    definition: PartialDefinition, tmp_path: Path
) -> None:
    definition.put(DefinitionPart(0, b"ab", 5, 2))
    definition.put(DefinitionPart(1, b"XY", 5, 2))
    assert not definition.complete  # the lengths do not add up
    definition.put(DefinitionPart(1, b"cde", 5, 2))
    assert definition.complete
    definition.assemble(tmp_path / "whole")
    assert (tmp_path / "whole").read_bytes() == b"abcde"


def refusal(definition: PartialDefinition, part: DefinitionPart) -> str:
    with pytest.raises(ElasticsearchError) as refused:
        definition.put(part)
    assert refused.value.status == 400
    return str(refused.value)


def test_lengths_that_differ_are_refused(definition: PartialDefinition) -> None:
    definition.put(DefinitionPart(1, b"ab", 5, 2))
    assert refusal(definition, DefinitionPart(0, b"cde", 6, 2)).startswith(
        "[mine] [total_definition_length] must be the same in all model definition parts. The value [6] in "
        "model definition part [0] does not match the value [5] in part [1]. "
    )
    assert "[total_parts] must be the same" in refusal(definition, DefinitionPart(0, b"cde", 5, 3))
    assert definition.received == 2


def test_more_than_was_announced_is_refused_and_not_kept(
    definition: PartialDefinition, tmp_path: Path
) -> None:
    definition.put(DefinitionPart(0, b"abc", 5, 2))
    assert "makes the definition longer" in refusal(definition, DefinitionPart(1, b"def", 5, 2))
    assert [path.name for path in tmp_path.iterdir()] == ["00000.part"]
    definition.put(DefinitionPart(1, b"de", 5, 2))
    assert definition.complete


def test_too_large_a_program_is_refused_by_its_first_part(definition: PartialDefinition) -> None:
    message = refusal(definition, DefinitionPart(0, b"a", 2001, 5))
    assert message == (
        "[mine] [total_definition_length] is [2001] bytes, more than the [2000] that "
        "[trained_models.max_model_size] allows"
    )
    assert not definition.begun
    definition.put(DefinitionPart(0, b"a", 2000, 5))
    assert definition.begun
