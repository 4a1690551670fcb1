"""A supervisor with `app_double` for an application: `python -m tests.support.supervised SETTINGS DIRECTORY`.

SETTINGS is JSON in the form of the YAML file; the directory is `app_double`'s. When the settings are read
again, those of the file `settings.json` in the directory are put over them.
"""

import asyncio
import json
import sys
from functools import partial
from pathlib import Path

from rerank_proxy.observe.log import configure
from rerank_proxy.processes.loop import new_event_loop
from rerank_proxy.processes.startup import prepare
from rerank_proxy.processes.supervisor import Supervisor
from rerank_proxy.settings import Settings, load


def read(values: str, directory: Path) -> Settings:
    changed = directory / "settings.json"
    over = json.loads(changed.read_text()) if changed.exists() else {}
    return load(None, {**json.loads(values), **over}, {})


if __name__ == "__main__":
    prepare()
    reader = partial(read, sys.argv[1], Path(sys.argv[2]))
    command = (sys.executable, "-m", "tests.support.app_double", sys.argv[2])
    settings = reader()
    configure(settings.log.level, settings.log.format, process="supervisor")
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        sys.exit(runner.run(Supervisor(settings, reader, command).run()))
