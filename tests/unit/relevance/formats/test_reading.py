"""Queries and judgments of other programs: what is written is read again, and faults name file and line."""

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rerank_proxy.relevance.clicks import Click
from rerank_proxy.relevance.errors import FormatError, RelevanceError
from rerank_proxy.relevance.formats.reading import read_clicks, read_judgments, read_queries
from rerank_proxy.relevance.formats.writing import Form, write_judgments
from rerank_proxy.relevance.judgments import MAX_GRADE, Query, paired
from tests.support.examples import examples

IDS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20)
GRADES = st.integers(-MAX_GRADE, MAX_GRADE)
JUDGMENTS = st.dictionaries(IDS, st.dictionaries(IDS, GRADES, min_size=1, max_size=4), min_size=1, max_size=4)


def written(directory: Path, content: str | bytes, name: str = "file") -> Path:
    path = directory / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def outcome(work: Callable[[Path], object], path: Path) -> str:
    """Return the fault of a file, or its name if there is none."""
    try:
        work(path)
    except RelevanceError as error:
        return str(error)
    return str(path)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("reading")


@examples(1)
@given(judgments=JUDGMENTS, form=st.sampled_from(["trec", "beir", "jsonl"]))
def test_what_is_written_is_read_again_or_refused(
    place: Path, judgments: dict[str, dict[str, int]], form: Form
) -> None:
    """JSON lines hold every id; the other forms say so where a separator is in one."""
    path = place / "judgments"
    refused = outcome(lambda path: write_judgments(path, judgments, form=form), path)
    if refused == str(path):
        assert read_judgments(path) == judgments
    else:
        assert "a name that ends in .jsonl" in refused
        assert form != "jsonl"


@examples(1)
@given(texts=st.dictionaries(IDS, st.text(st.characters(exclude_categories=["Cs"]), max_size=30), max_size=3))
def test_json_lines_hold_the_queries_too(place: Path, texts: dict[str, str]) -> None:
    queries = {name: Query(name, f"q{text}") for name, text in texts.items()} or {"1": Query("1", "one")}
    path = place / "both.jsonl"
    write_judgments(path, {name: {"d": 1} for name in queries}, queries=queries)
    assert read_queries(path) == queries
    assert read_judgments(path) == {name: {"d": 1} for name in queries}


@examples(2)
@given(
    content=st.binary(max_size=200)
    | st.text(alphabet='<top>num{}":[]\t\n 01.5eq,_id', max_size=80).map(str.encode)
)
def test_whatever_a_file_holds_it_is_read_or_its_fault_is_named(place: Path, content: bytes) -> None:
    path = written(place, content, "hostile")
    for read in (read_queries, read_judgments, read_clicks):
        assert str(path) in outcome(read, path)


@pytest.mark.parametrize(
    ("read", "content", "line", "problem"),
    [
        (read_queries, "1\tok\n2 no tab\n", 2, "expected the id of the query, a tab, and its text"),
        (read_queries, "1\ta\n1\tb\n", 2, "the query 1 is there already, with another text"),
        (read_queries, '{"query": 5}\n', 1, "the text of the query must be a text that is not blank"),
        (read_queries, "<top>\n<num> Number: 1\n<title> x\n", 1, "the topic has no end: expected </top>"),
        (read_queries, "<top>\nx\n</top>\n", 1, "the topic has no number"),
        (read_queries, b"1\t\xff\n", 1, "is not UTF-8: save the file in that coding"),
        (read_judgments, "1 0 d 1\n\n1 0 d e f\n", 3, "expected `query iteration document grade`"),
        (read_judgments, "1 0 d 0.5\n", 1, "the grade must be a whole number, such as 0, 1 or 2"),
        (read_judgments, "1 0 d 1\n1 0 d 2\n", 2, "document d has the grade 1 for query 1 already: keep one"),
        (read_judgments, '{"query": "q", "grades": [1]}\n', 1, '"grades" must be an object'),
        (read_judgments, '{"query": "q"\n', 1, "is not JSON"),
        (read_clicks, "query\tposition\n", 1, "expected a header with query, document, position"),
        (read_clicks, "query\tdocument\tposition\nq\td\n", 2, "has 2 columns, and the header 3"),
        (
            read_clicks,
            '{"query": "q", "document": "d", "position": 0}\n',
            1,
            '"position" must be a whole number',
        ),
    ],
)
def test_faults_name_file_and_line(
    tmp_path: Path, read: Callable[[Path], object], content: str | bytes, line: int, problem: str
) -> None:
    path = written(tmp_path, content)
    with pytest.raises(FormatError) as raised:
        read(path)
    assert str(raised.value).startswith(f"{path}, line {line}: ")
    assert problem in str(raised.value)


@pytest.mark.parametrize("topic", ["<num>{}1 <title> x", "<num> 1 <title> x <{}", "<num> 1 <title> topic{}x"])
@pytest.mark.parametrize("filling", [" ", "a", "<a", "topic"])
def test_long_lines_of_topics_take_no_longer_than_their_length(
    tmp_path: Path, topic: str, filling: str
) -> None:
    """With a pattern that goes back over what it has read, such a line took hours."""
    path = written(tmp_path, f"<top>\n{topic.format(filling * 100_000)}\n</top>\n")
    assert str(path) in outcome(read_queries, path)


@pytest.mark.parametrize("read", [read_queries, read_judgments, read_clicks])
def test_files_without_anything(tmp_path: Path, read: Callable[[Path], object]) -> None:
    with pytest.raises(RelevanceError, match="holds no"):
        read(written(tmp_path, "\n \n"))
    with pytest.raises(RelevanceError, match="cannot be read: No such file"):
        read(tmp_path / "absent")
    with pytest.raises(RelevanceError, match="is a directory"):
        read(tmp_path)


def test_clicks_with_and_without_counts(tmp_path: Path) -> None:
    rows = "query\tdocument\tposition\timpressions\tclicks\nq\ta\t1\t10\t3\nq\tb\t2\t10\t0\n"
    assert read_clicks(written(tmp_path, rows)) == [Click("q", "a", 1, 10, 3), Click("q", "b", 2, 10, 0)]
    lines = (
        '{"query": "q", "document": "a", "position": 2}\n'
        '{"query": "q", "document": "b", "position": 1, "clicked": false}\n'
    )
    assert read_clicks(written(tmp_path, lines)) == [Click("q", "a", 2, 1, 1), Click("q", "b", 1, 1, 0)]


def test_what_does_not_belong_together_is_counted() -> None:
    queries = {name: Query(name, name) for name in ("judged", "unjudged", "hopeless")}
    pair = paired(queries, {"judged": {"d": 1, "e": 0}, "hopeless": {"d": 0}, "unknown": {"d": 1}})
    assert list(pair.queries) == ["judged"]
    assert pair.judgments == {"judged": {"d": 1, "e": 0}}
    assert (pair.unjudged, pair.without_query, pair.without_relevant) == (
        ["unjudged"],
        ["unknown"],
        ["hopeless"],
    )
