"""The page of native behaviour: its rules are numbered, complete, and each is guarded by tests that exist."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from tests.support.pages import defined_tests, named_tests, read, table_after
from tests.support.project import ROOT

PAGE = ROOT / "docs" / "native-behaviour.md"
HEADER = ["#", "Rule", "From", "Holds for", "Here", "Guarded by"]

_CLASS = re.compile(r"\b[A-Z][a-z0-9]+[A-Z]\w*")
_NUMBER = re.compile(r"\b([A-Z])(\d+)\b")


@dataclass(frozen=True)
class Rule:
    """One row of a table of rules."""

    number: str
    rule: str
    from_: str
    holds_for: str
    here: str
    guarded_by: str

    def __str__(self) -> str:
        return self.number


@dataclass(frozen=True)
class Section:
    """What stands below a heading of the second level."""

    title: str
    text: str

    @property
    def rows(self) -> list[list[str]]:
        return [_cells(line) for line in self.text.splitlines() if line.startswith("|")]

    @property
    def rules(self) -> list[Rule]:
        return [Rule(*row) for row in self.rows[2:]] if self.rows[:1] == [HEADER] else []

    def __str__(self) -> str:
        return self.title


def _cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip("|").split(" | ")]


def _sections() -> list[Section]:
    _, *parts = re.split(r"^## ", read(PAGE), flags=re.MULTILINE)
    return [Section(*part.split("\n", 1)) for part in parts]


def _plain(text: str) -> str:
    """Without what stands in code style, and without where links lead to."""
    return re.sub(r"\]\([^)]*\)", "]", re.sub(r"`[^`]*`", "", text))


SECTIONS = _sections()
RULES = [rule for section in SECTIONS for rule in section.rules]


def test_there_are_rules() -> None:
    assert len(RULES) > 150


def test_every_rule_is_guarded_by_tests_that_exist() -> None:
    assert not [f"{rule}: {fault}" for rule in RULES for fault in faults_of_guard(rule)]


def faults_of_guard(rule: Rule) -> Iterator[str]:
    named = list(named_tests(rule.guarded_by))
    if not named:
        yield "no test guards it"
    if len(set(named)) < len(named):
        yield "a test is named twice"
    yield from (f"no {path}::{test}" for path, test in named if test not in defined_tests(ROOT / path))
    between = re.sub(r"`[^`]*`", "", rule.guarded_by).replace("<br>", "")
    if between.strip():
        yield f"not a test: {between}"


@pytest.mark.parametrize("section", [each for each in SECTIONS if each.rules], ids=str)
def test_numbers_begin_at_one_and_leave_none_out(section: Section) -> None:
    letter = section.rules[0].number[:1]
    expected = [f"{letter}{number}" for number in range(1, len(section.rules) + 1)]
    assert [rule.number for rule in section.rules] == expected


def test_no_two_sections_have_a_letter_in_common() -> None:
    numbers = [rule.number for rule in RULES]
    assert len(set(numbers)) == len(numbers)


def test_every_rule_says_where_it_comes_from_and_how_the_proxy_compares() -> None:
    assert not [f"{rule}: {fault}" for rule in RULES for fault in faults_of_comparison(rule)]


def faults_of_comparison(rule: Rule) -> Iterator[str]:
    word, _, how = rule.here.partition(" ")
    word = word.rstrip(":;,")
    if word not in ("same", "differs", "added"):
        yield f"neither same nor differs nor added: {rule.here}"
    if word == "differs" and not how:
        yield "how does it differ?"
    if word == "added":
        if not rule.from_ == rule.holds_for == "none":
            yield "what the proxy adds does not come from native"
    elif not rule.holds_for or not ("`" in rule.from_ or "](https://" in rule.from_):
        yield "where is it from, and for which versions does it hold?"


def test_classes_are_in_code_style() -> None:
    for rule in RULES:
        for cell in (rule.rule, rule.from_, rule.holds_for, rule.here):
            assert not _CLASS.findall(_plain(cell)), rule.number


def test_every_section_is_in_the_table_of_contents() -> None:
    before, _, _ = read(PAGE).partition("\n## ")
    listed = re.findall(r"^- \[([^]]+)\]", before, re.MULTILINE)
    assert listed == [section.title for section in SECTIONS if section.title in listed]
    assert set(listed) == {section.title for section in SECTIONS} - {"How to read it"}
    for section in SECTIONS:
        if section.rules:
            assert f"[{section.title}](#" in before
            assert f") ({section.rules[0].number[:1]}): " in before


def test_rules_that_are_referred_to_exist() -> None:
    numbers = {rule.number for rule in RULES}
    referred = {"".join(each) for each in _NUMBER.findall(_plain(read(PAGE)))}
    assert referred == numbers


def test_each_difference_of_a_rule_is_in_the_list_of_them() -> None:
    (known,) = [section for section in SECTIONS if section.title == "Known differences"]
    listed = {"".join(each) for each in _NUMBER.findall(_plain(known.text))}
    differing = {rule.number for rule in RULES if rule.here.startswith("differs")}
    assert differing <= listed, sorted(differing - listed)


def test_every_version_switch_names_its_rules() -> None:
    rows = [_cells(line) for line in table_after("switches", PAGE).splitlines()[2:]]
    assert len(rows) >= 10
    numbers = {rule.number for rule in RULES}
    for behaviour, versions, here, rules in rows:
        assert all((behaviour, versions, here))
        assert set(rules.split(", ")) <= numbers, behaviour
