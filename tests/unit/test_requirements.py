"""The pinned versions are those of pyproject.toml's requirements, and name no place to get them from."""

import re
import tomllib
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

_REPOSITORY = Path(__file__).parents[2]
_CONSTRAINTS = (_REPOSITORY / "requirements" / "constraints.txt").read_text(encoding="utf-8")


def _requirements() -> list[Requirement]:
    """Of the project and all its groups."""
    pyproject = tomllib.loads((_REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))
    listed = [pyproject["project"]["dependencies"], *pyproject["dependency-groups"].values()]
    return [Requirement(entry) for entries in listed for entry in entries if isinstance(entry, str)]


def test_every_requirement_is_pinned_to_a_version_that_it_allows() -> None:
    pinned: dict[str, list[str]] = {}
    for line in _CONSTRAINTS.splitlines():
        if not line.startswith("#"):
            pin = Requirement(line)
            pinned.setdefault(canonicalize_name(pin.name), []).append(str(pin.specifier).removeprefix("=="))
    stale = [
        str(requirement)
        for requirement in _requirements()
        if not pinned.get(canonicalize_name(requirement.name))
        or not all(map(requirement.specifier.contains, pinned[canonicalize_name(requirement.name)]))
    ]
    assert not stale, "run `make lock`"


def test_only_names_and_versions_are_pinned() -> None:
    for line in _CONSTRAINTS.splitlines():
        assert re.fullmatch(r"#.*|[a-z0-9-]+==[\w.+!]+( ; .+)?", line), line
    assert "://" not in _CONSTRAINTS
