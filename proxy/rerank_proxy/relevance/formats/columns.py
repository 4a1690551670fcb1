"""Lines of columns without a header: of queries as TREC has them, and of qrels as TREC and BEIR have them."""

from rerank_proxy.relevance.errors import FormatError
from rerank_proxy.relevance.formats.lines import Line
from rerank_proxy.relevance.formats.rows import Row, graded
from rerank_proxy.relevance.formats.tables import TAB


def query_of(line: Line) -> Row:
    """Read the id of a query, a tab, and its text.

    Raises:
        FormatError: The line is something else.
    """
    name, tab, text = line.text.strip().partition(TAB)
    if not tab:
        raise line.fault("expected the id of the query, a tab, and its text")
    if TAB in text.strip():
        raise line.fault(
            f"has {line.text.count(TAB) + 1} columns, and only two are known, the id of the query and its "
            "text: name the columns in a first line, as in id<TAB>query<TAB>more"
        )
    return Row(line, line.id(name.strip(), "id of the query"), line.query_text(text.strip()), None)


def judgment_of(line: Line) -> Row:
    """Read a judgment: four columns with blanks or tabs between them, or three with tabs.

    Raises:
        FormatError: The line is something else.
    """
    columns = [column.strip() for column in line.text.split(TAB)]
    if len(columns) not in (3, 4):
        columns = line.text.split()
        if len(columns) != 4:
            raise _unknown(line)
    if not all(columns):
        raise _unknown(line)
    query, *_, document, grade = columns
    return Row(line, line.id(query, "id of the query"), None, graded(line, {document: grade}))


def _unknown(line: Line) -> FormatError:
    """Say that a line has no columns of judgments, and what it looks like."""
    columns = line.text.split()
    if len(columns) > 1 and columns[1].startswith("qid:"):
        return line.fault("is a line of LETOR, which has features in place of ids: take the qrels behind it")
    if len(columns) == 6:
        return line.fault("is of a run, what a system found: take the qrels, which have four columns")
    return line.fault(
        "expected `query iteration document grade` (TREC), or query, document and grade with tabs "
        "between them (BEIR); other columns take a first line that names them, as in query_id,doc_id,grade"
    )
