"""The words of the project: the field's own (docs/glossary.md), and docstrings that begin with a verb."""

import ast
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

from tests.support.pages import read
from tests.support.project import ROOT

BANNED: Final = (
    r"(?:some|any)body\b",
    r"(?<![`\"])nobody\b",  # in quotes it is an account
    r"who(?:m)?ever\b",
    r"none of ours",
    r"(?P<existential>there )?(?:is|are) no (?!longer\b|more\b|such\b|other\b|wider\b)[a-z\[]",
    r"the seams?\b",
    r"rehears\w+",
    r"verdicts?\b",
    r"graves?\b",
    r"bur(?:y|ied|ies)\b",
    r"of (?:no|some) use to",
    r"in the proxy itself",
    r"whatever happens",
    r"(?:give[ns]?|takes?) a pause",
    r"(?:a|two) looks?\b",
    r"is told of\b",
    r"what there is not\b",
)
"""What reads as translated, or is slang where the field has a word. Blanks stand for line breaks too; "there
is no X" is said of what does not exist, "is not an X" of what is something else."""

CLAUSE_OPENERS: Final = frozenset(
    """
    what whatever whether of as where when which who whose how why those none the same a an this that these
    if else until while before after because so such than then there also both neither either not only even
    """.split()  # noqa: SIM905
)
PRONOUNS_AND_NUMERALS: Final = frozenset(
    """
    it its they their them he his we our all any each every no nothing one two three several some something
    others other many more most
    """.split()  # noqa: SIM905
)
PREPOSITIONS: Final = frozenset(
    """
    about above around at below beyond but by for from in into like near off on out over per since to under
    up upon with within without
    """.split()  # noqa: SIM905
)
SECTIONS: Final = frozenset(
    {"args", "asks", "finds", "gives", "makes", "raises", "returns", "tells", "yields"}
)
"""A docstring is a sentence before it has sections, and that sentence is imperative."""
NOUNS_AND_ADJECTIVES: Final = frozenset(
    """
    answered best bytes characters classifiers compact cpu documents early elasticsearch embeddings endpoints
    equal false fewest half halves hosts ids json keys levenshtein lines logits looked lucene matches
    milliseconds models name names native neighbours numbers origin outputs padded physical position
    positional progress pyyaml raw reciprocal rows rules seconds secrets sent sha-256 shards status text
    texts token tokens transformers true type unpaired upstream version weights yaml
    """.split()  # noqa: SIM905
)
OPENERS: Final = CLAUSE_OPENERS | PRONOUNS_AND_NUMERALS | PREPOSITIONS | SECTIONS | NOUNS_AND_ADJECTIVES
"""First words of docstrings that are not verbs; add those that come up."""

_CODE: Final = ("proxy", "demo", "examples", "testbed", "benchmarks")
_BANNED: Final = re.compile(
    r"(?<![\w-])(?:" + "|".join(each.replace(" ", r"\s+(?:#\s*)?") for each in BANNED) + ")", re.IGNORECASE
)
_DEFINITION: Final = re.compile(r"^[ ]*(?:async )?(?:def|class) (\w+)", re.MULTILINE)
_GLOSSARY: Final = ROOT / "docs" / "glossary.md"


@dataclass(frozen=True, order=True)
class Offence:
    """A place whose words break a rule."""

    path: str
    line: int
    found: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.found}"


def python_files(*folders: str) -> list[Path]:
    return sorted(file for folder in folders for file in (ROOT / folder).rglob("*.py"))


def pages() -> list[Path]:
    return sorted({*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), *(ROOT / "benchmarks").glob("*.md")})


def path_of(file: Path) -> str:
    return file.relative_to(ROOT).as_posix()


def spaced(name: str) -> str:
    """Return a name in snake case or camel case as words."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name).replace("_", " ")


def banned_in(text: str) -> Iterator[re.Match[str]]:
    return (match for match in _BANNED.finditer(text) if not match["existential"])


def banned_in_text(file: Path) -> Iterator[Offence]:
    text = read(file)
    for match in banned_in(text):
        line = text.count("\n", 0, match.start()) + 1
        yield Offence(path_of(file), line, " ".join(match[0].split()))


def banned_in_names(file: Path) -> Iterator[Offence]:
    """Look at the names of a test file, its classes and its functions."""
    text = read(file)
    named = [(1, file.stem)]
    named += [(text.count("\n", 0, each.start(1)) + 1, each[1]) for each in _DEFINITION.finditer(text)]
    for line, name in named:
        for match in banned_in(spaced(name)):
            yield Offence(path_of(file), line, f"{match[0]} in {name}")


def weak_openings(file: Path) -> Iterator[Offence]:
    """Find the functions whose docstrings do not begin with a verb."""
    for node in ast.walk(ast.parse(read(file))):
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) or is_property(node):
            continue
        docstring = ast.get_docstring(node)
        if docstring and not begins_with_a_verb(docstring):
            yield Offence(path_of(file), node.lineno, f"{node.name}: {docstring.splitlines()[0][:60]}")


def is_property(node: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    return any("property" in ast.unparse(each) for each in node.decorator_list)


def begins_with_a_verb(docstring: str) -> bool:
    """Tell whether the first word is none of `OPENERS`; names of Java classes may begin a docstring."""
    first = docstring.split()[0]
    if first.startswith("``"):
        return True
    word = first.strip(".,:;()'\"").lower()
    return first[0].isalpha() and not word.endswith(("'s", "s'")) and word not in OPENERS


def remaining(offences: Iterable[Offence]) -> str:
    """List the offences, one a line."""
    return "\n".join(str(each) for each in sorted(offences))


def test_words_that_must_not_come_back() -> None:
    files = [*python_files(*_CODE), *pages()]
    assert len(files) > 100
    found = remaining(offence for file in files for offence in banned_in_text(file))
    assert not found, f"say it in the field's words:\n{found}"


def test_names_of_tests_keep_to_the_same_words() -> None:
    files = python_files("tests")
    assert len(files) > 100
    found = remaining(offence for file in files for offence in banned_in_names(file))
    assert not found, f"say it in the field's words:\n{found}"


def test_docstrings_of_functions_begin_with_a_verb() -> None:
    files = python_files("proxy")
    assert len(files) > 100
    found = remaining(offence for file in files for offence in weak_openings(file))
    assert not found, f"begin with a verb:\n{found}"


@cache
def glossary() -> dict[str, str]:
    """Return the terms of the glossary with what it says of each, in its order."""
    return dict(re.findall(r"^\*\*([^*]+)\*\*: (.+(?:\n.+)*)", read(_GLOSSARY), re.MULTILINE))


def as_words(text: str) -> str:
    """Return a text in lower case with single blanks, which stand for hyphens too."""
    return re.sub(r"[-\s]+", " ", text.lower())


def test_the_glossary_is_in_alphabetical_order() -> None:
    terms = [as_words(term) for term in glossary()]
    assert len(terms) > 40
    assert terms == sorted(terms)


def test_terms_of_the_glossary_are_used() -> None:
    """A term may be written as words or as part of a name, in the singular or the plural."""
    sources = [*python_files("proxy"), *(page for page in pages() if page != _GLOSSARY)]
    used = as_words(" ".join(spaced(read(file)) for file in sources))
    unused = [term for term in glossary() if as_words(term) not in used]
    assert not unused, f"in docs/glossary.md and nowhere else: {unused}"


def test_the_glossary_is_linked() -> None:
    assert "(glossary.md)" in read(ROOT / "docs" / "architecture.md")
    assert "(docs/glossary.md)" in read(ROOT / "README.md")


def test_names_are_read_as_words() -> None:
    assert spaced("test_doubt_is_no_permission") == "test doubt is no permission"
    assert spaced("TestNobody") == "Test Nobody"


def test_what_is_banned() -> None:
    assert [*banned_in("it\n    # is no  JSON")]
    assert not [*banned_in("there is no index")]
    assert not [*banned_in("it is no longer there")]


def test_what_begins_with_a_verb() -> None:
    assert begins_with_a_verb("Return the score.")
    assert begins_with_a_verb("``Object#toString``.")
    assert not begins_with_a_verb("Whether it is one.")
    assert not begins_with_a_verb("`text`, in quotes.")
    assert not begins_with_a_verb("Upstream's answer.")
