"""Keys under which outputs are remembered."""

from hypothesis import given
from hypothesis import strategies as st

from rerank_proxy.engine.encoding.scorers import input_keys

texts = st.text(alphabet="ab\0 é", max_size=4)


@given(st.lists(st.tuples(texts, texts, texts), min_size=2, max_size=30, unique=True))
def test_different_inputs_have_different_input_keys(inputs: list[tuple[str, str, str]]) -> None:
    assert len({input_keys(model, context, [text])[0] for model, context, text in inputs}) == len(inputs)


@given(st.text(alphabet="ab", min_size=1, max_size=4), st.data())
def test_what_runs_together_alike_is_told_apart(whole: str, data: st.DataObject) -> None:
    cuts = st.tuples(st.integers(0, len(whole)), st.integers(0, len(whole))).map(sorted)
    parts = [
        (whole[:first], whole[first:second], whole[second:])
        for first, second in data.draw(st.lists(cuts, min_size=2, max_size=2, unique_by=tuple))
    ]
    one, other = (input_keys(model, context, [text]) for model, context, text in parts)
    assert one != other


def test_keys_do_not_hold_the_texts() -> None:
    (key,) = input_keys("fingerprint", "a query", ["a text " * 1000])
    assert len(key) == 16
