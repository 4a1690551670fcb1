"""A supervisor with `app_double` for an application: `python -m tests.support.supervised SETTINGS DIRECTORY`.

SETTINGS is JSON in the form of the YAML file; the directory is `app_double`'s.
"""

import asyncio
import json
import sys

from proxy.loop import new_event_loop
from proxy.observe.log import configure
from proxy.process import prepare
from proxy.settings import load
from proxy.supervisor import Supervisor

if __name__ == "__main__":
    prepare()
    configure("info")
    command = (sys.executable, "-m", "tests.support.app_double", sys.argv[2])
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        sys.exit(runner.run(Supervisor(load(None, json.loads(sys.argv[1]), {}), command).run()))
