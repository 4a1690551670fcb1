"""A real Elasticsearch for the demo, the tests and the benchmarks.

    from testbed import choose, Reporter

    with choose().start(Reporter()) as elasticsearch:
        print(elasticsearch.url, elasticsearch.version)

`choose` takes the first that is available: the one at `ES_URL`; the official image, if a Docker engine
answers; the minimal distribution, if there are Maven and a JDK; Elastic's download. `python -m testbed`
starts one from the command line. TESTBED_JAVA_OPTS adds Java options to a distribution that is unpacked here.
"""

from testbed.errors import TestbedError
from testbed.http import Reply, Server
from testbed.process import GuardedProcess
from testbed.progress import Reporter, Step
from testbed.running import RunningElasticsearch, wait_until
from testbed.source import Source, choose, sources

__all__ = [
    "GuardedProcess",
    "Reply",
    "Reporter",
    "RunningElasticsearch",
    "Server",
    "Source",
    "Step",
    "TestbedError",
    "choose",
    "sources",
    "wait_until",
]
