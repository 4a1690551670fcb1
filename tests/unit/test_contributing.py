"""The recipes of CONTRIBUTING.md lead where they say."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

from tests import support
from tests.support.pages import read
from tests.support.project import ROOT

PAGE: Final = read(ROOT / "CONTRIBUTING.md")
SECTION: Final = "class AdminSettings(Section):\n"
FIELD: Final = '    new_limit: Count = Field(7, description="What it limits.")\n'
FOLLOWED: Final = """
import json
from pathlib import Path
from rerank_proxy.cli import main
from rerank_proxy.cli.options import load_settings
from rerank_proxy.settings import load
from rerank_proxy.settings.page import page

Path("settings.yaml").write_text("admin: {new_limit: 8}")
options = main.commands["serve"].make_context("serve", ["--admin-new-limit", "10"]).params
print(json.dumps({
    "default": load(environ={}).admin.new_limit,
    "file": load(Path("settings.yaml"), environ={}).admin.new_limit,
    "environment": load(environ={"RERANK_PROXY_ADMIN__NEW_LIMIT": "9"}).admin.new_limit,
    "option": load_settings(**options).admin.new_limit,
    "page": next(line for line in page().splitlines() if "new_limit" in line),
}))
"""


def test_a_setting_is_one_field(tmp_path: Path) -> None:
    """Nothing else has to change for the file, the environment, the command line and the page."""
    assert "`proxy/rerank_proxy/settings/sections/`" in PAGE
    package = Path(shutil.copytree(ROOT / "proxy" / "rerank_proxy", tmp_path / "rerank_proxy"))
    sections = (package / "settings" / "sections").glob("*.py")
    (module,) = (file for file in sections if SECTION in read(file))
    module.write_text(read(module).replace(SECTION, SECTION + FIELD), encoding="utf-8")
    environ = {**os.environ, "PYTHONPATH": str(tmp_path)}
    run = subprocess.run(
        [sys.executable, "-c", FOLLOWED],
        cwd=tmp_path,
        env=environ,
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    found = json.loads(run.stdout)
    assert [found[place] for place in ("default", "file", "environment", "option")] == [7, 8, 9, 10]
    assert found["page"] == (
        "| `admin.new_limit` | `7` | What it limits. | no | "
        "`--admin-new-limit`<br>`RERANK_PROXY_ADMIN__NEW_LIMIT` |"
    )


def test_every_module_of_the_support_has_a_line_on_its_page() -> None:
    page = support.__doc__ or ""
    listed = re.findall(r"^    (\w+)  +\S", page, re.MULTILINE)
    there = {path.stem for path in (ROOT / "tests" / "support").iterdir() if not path.name.startswith("_")}
    assert sorted(listed) == sorted(there)


def test_every_test_directory_has_a_line() -> None:
    directories = {path.parent.relative_to(ROOT).parts[:2] for path in (ROOT / "tests").rglob("test_*.py")}
    for parts in {*directories, ("tests", "support")}:
        assert f"| `{'/'.join(parts)}/` |" in PAGE
