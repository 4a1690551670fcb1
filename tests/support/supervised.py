"""A supervisor with `app_double` for an application: `python -m tests.support.supervised SETTINGS DIRECTORY`.

SETTINGS is JSON in the form of the YAML file; the directory is `app_double`'s.
"""

import asyncio
import json
import sys

from rerank_proxy.observe.log import configure
from rerank_proxy.processes.loop import new_event_loop
from rerank_proxy.processes.startup import prepare
from rerank_proxy.processes.supervisor import Supervisor
from rerank_proxy.settings import load

if __name__ == "__main__":
    prepare()
    configure("info")
    command = (sys.executable, "-m", "tests.support.app_double", sys.argv[2])
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        sys.exit(runner.run(Supervisor(load(None, json.loads(sys.argv[1]), {}), command).run()))
