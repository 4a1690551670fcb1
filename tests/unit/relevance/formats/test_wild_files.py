"""Files as other programs write them: each is read rightly, or refused with what is wrong and what to do."""

import bz2
import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from rerank_proxy.relevance.clicks import Click, ClickModel
from rerank_proxy.relevance.errors import RelevanceError
from rerank_proxy.relevance.evaluation.material import material_of
from rerank_proxy.relevance.formats.reading import read_clicks, read_judgments, read_queries

TREC = (
    "<top>\n<num> Number: 301 \n<title> Organized  Crime \n\n<desc> Description: \nIdentify x < y.\n</top>\n"
    "<top><num>302</num><title>Topic: R&D</title></top>\n"
)
WEB = (
    '<?xml version="1.0"?>\n<webtrack2009>\n<topic number="1" type="faceted">\n'
    "<query>obama family tree</query>\n"
    '<subtopic number="1">x</subtopic>\n</topic>\n</webtrack2009>\n'
)
COVID = (
    '<topics task="COVIDSEARCH">\n<topic number="1"><query>coronavirus &amp; origin</query>\n'
    "<question>what?</question></topic><topic number='2'>\n<query>weather</query></topic></topics>"
)
CLEF = (
    "<topics>\n<topic lang='en'>\n<identifier>451-AH</identifier>\n<title>Roman <![CDATA[Army]]></title>\n"
    "</topic></topics>"
)
OLD_CLEF = "<top>\n<num> C041 </num>\n<EN-title> Baby Food </EN-title>\n<EN-desc> x </EN-desc>\n</top>\n"
TRIALS = '<topics>\n<topic number="7">\nA &lt;man&gt;\nof 45</topic>\n</topics>\n'
RANK_EVAL = {
    "requests": [
        {
            "id": "a query",
            "params": {"text": "berlin", "size": 3},
            "ratings": [{"_index": "i", "_id": "1", "rating": 0}, {"_index": "i", "_id": "2", "rating": 3}],
        }
    ],
    "metric": {"dcg": {}},
}
WORKBENCH = {"judgmentRatings": [{"query": "red dress", "ratings": [{"docId": "B1", "rating": "1.0"}]}]}
QUEPID = 'query,docid,rating\n"star, ""wars""",11,3\nstar trek,5,0\nstar trek,6,\n'


def written(directory: Path, content: Any, name: str = "file") -> Path:
    path = directory / name
    text = content if isinstance(content, str | bytes) else json.dumps(content, indent=1)
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("\ufeff7\thow fast\r\n8\thow far", {"7": "how fast", "8": "how far"}),
        ('{"_id": "a", "text": "how fast", "metadata": {}}\n', {"a": "how fast"}),
        ('{"query": "a", "grades": {}}\n\n{"query": "b", "grades": {"1": 2}}', {"1": "a", "2": "b"}),
        (TREC, {"301": "Organized Crime", "302": "R&D"}),
        (WEB, {"1": "obama family tree"}),
        (COVID, {"1": "coronavirus & origin", "2": "weather"}),
        (CLEF, {"451-AH": "Roman Army"}),
        (OLD_CLEF, {"C041": "Baby Food"}),
        (TRIALS, {"7": "A <man> of 45"}),
        ('query_id\tquery\n007\tsay "no\n', {"007": 'say "no'}),
        ('qid;query\n1;"a; b"\n', {"1": "a; b"}),
        (QUEPID, {"1": 'star, "wars"', "2": "star trek"}),
        ('{"query_id": "q9", "query": "x"}\n{"_id": 3, "query": "y"}\n', {"q9": "x", "3": "y"}),
        ({"1": "how fast", "2": "how far"}, {"1": "how fast", "2": "how far"}),
        ([{"id": 1, "query": "a"}, {"id": 2, "query": "b"}], {"1": "a", "2": "b"}),
        (RANK_EVAL, {"a query": "berlin"}),
        (gzip.compress(b"1\thow fast\n"), {"1": "how fast"}),
        ("BZh\tan id\n", {"BZh": "an id"}),
    ],
)
def test_queries(tmp_path: Path, content: Any, expected: dict[str, str]) -> None:
    assert {name: query.text for name, query in read_queries(written(tmp_path, content)).items()} == expected


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("301 0 FT-1 1\n301\t0\tFT-2\t-1\n", {"301": {"FT-1": 1, "FT-2": -1}}),
        ("query-id\tcorpus-id\tscore\n1\tan id\t2\n", {"1": {"an id": 2}}),
        ("1\t184\t3\n1\t29\t1.0\n", {"1": {"184": 3, "29": 1}}),
        ('{"query-id": "1", "corpus-id": "x", "score": 1}\n', {"1": {"x": 1}}),
        ('{"query": "q", "grades": {"0": 3}}\n', {"1": {"0": 3}}),
        ("q 1\t0\td 1\t-2\n", {"q 1": {"d 1": -2}}),
        ("qid\tQ0\tdocid\trel\n007\t0\td\t2\n", {"007": {"d": 2}}),
        ("1 \t d\t1\n", {"1": {"d": 1}}),
        (QUEPID, {"1": {"11": 3}, "2": {"5": 0}}),
        ('{"query_id": "1", "doc_id": "x", "relevance": 2}\n', {"1": {"x": 2}}),
        ({"q1": {"d1": 5, "d2": 3}, "q2": {"d": 1}}, {"q1": {"d1": 5, "d2": 3}, "q2": {"d": 1}}),
        (RANK_EVAL, {"a query": {"1": 0, "2": 3}}),
        (WORKBENCH, {"1": {"B1": 1}}),
    ],
)
def test_judgments(tmp_path: Path, content: Any, expected: dict[str, dict[str, int]]) -> None:
    assert read_judgments(written(tmp_path, content)) == expected


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("1 0 d 1_0\n", 'must be a whole number, such as 0, 1 or 2, and is "1_0"'),
        ("1 0 d 0.99999999999999999\n", "must be a whole number"),
        (
            "query_id,product_id,esci_label\n1,B0,E\n",
            'line 2: the grade must be a whole number, such as 0, 1 or 2, and is "E"',
        ),
        ("301 Q0 d 1 3.4 bm25\n", "is of a run, what a system found: take the qrels"),
        ("2 qid:10 1:0.05 2:0.5 #docid = GX\n", "is a line of LETOR"),
        ("1\thow 2\n", "expected `query iteration document grade` (TREC)"),
        ("# made by hand\n", "the grade must be a whole number"),
        ("1,d,2\n", "other columns take a first line that names them"),
        ('query,docid,rating\n"a" b,1,2\n', "line 2: is not CSV"),
        ('{"query": "q", "grades": {"d": 3, "d": 0}}\n', '"d" is there twice in one object'),
        ('{\n "1": {"a": 1},\n "2": {"b" 1}\n}', "line 3: is not JSON"),
        ([7], "entry 1: is not a JSON object"),
        ({"a": 1}, 'has neither a "query" nor the id of one'),
        ("<top>\n<num> 1\n<title> x\n</top>\n", "has no grade: is this a file of queries?"),
        ("1 0 d 1\n".encode("utf-16"), "is in UTF-16: save the file as UTF-8"),
        ("1 0 d 1\n".encode("utf-16-le"), "line 1: holds a NUL"),
        (b"1 0 d 1\r2 0 d 1\r", "line 1: holds a carriage return"),
        (bz2.compress(b"1 0 d 1\n"), "is packed by bzip2: unpack it first"),
        (b"PAR1\x15\x04", "is a Parquet file"),
        (b"PK\x03\x04", "is a zip archive or a spreadsheet: unpack it first"),
        (gzip.compress(b"1 0 d 1\n")[:-6], "is packed by gzip, and damaged"),
    ],
)
def test_judgments_that_would_be_misread_are_refused(tmp_path: Path, content: Any, problem: str) -> None:
    with pytest.raises(RelevanceError) as raised:
        read_judgments(written(tmp_path, content))
    assert problem in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("1\thow fast\tand far\n", "has 3 columns, and only two are known"),
        ("<topics>\n<topic number='1'><gene>BRAF</gene></topic></topics>", "topic 1 has no title"),
        ("<top>\n</top>\n", "the topic has no number"),
        ("<html>\nx</html>", "stands outside of a topic"),
        ("301 0 d 1\n", "expected the id of the query, a tab, and its text"),
        (
            '{"query_id": "1", "doc_id": "x", "relevance": 2}\n',
            "has no text of a query: name the file that has",
        ),
    ],
)
def test_queries_that_would_be_misread_are_refused(tmp_path: Path, content: str, problem: str) -> None:
    with pytest.raises(RelevanceError) as raised:
        read_queries(written(tmp_path, content))
    assert problem in str(raised.value)


def test_judgments_of_texts_belong_to_the_queries_with_these_texts(tmp_path: Path) -> None:
    """Both files are numbered in their own order, and a query that is not asked gets no id of another."""
    queries = written(tmp_path, "2\tstar trek\n3\tdune\n", "queries.tsv")
    judgments = written(tmp_path, "query,docid,rating\nalien,1,1\ndune,2,2\nstar trek,3,1\n", "judgments.csv")
    pair = material_of(queries, judgments, None, ClickModel()).paired
    assert pair.judgments == {"2": {"3": 1}, "3": {"2": 2}}
    assert len(pair.without_query) == 1


def test_judgments_of_another_text_of_a_query_are_refused(tmp_path: Path) -> None:
    queries = written(tmp_path, "1\tstar trek\n", "queries.tsv")
    judgments = written(tmp_path, {"id": "1", "query": "alien", "grades": {"a": 1}}, "judgments.json")
    with pytest.raises(RelevanceError, match="the query 1 is there already, with another text"):
        material_of(queries, judgments, None, ClickModel())


def test_clicks_in_columns_with_commas(tmp_path: Path) -> None:
    content = 'query,document,position,clicks\n"a, b",7,1,5\n'
    assert read_clicks(written(tmp_path, content)) == [Click("a, b", "7", 1, None, 5)]
