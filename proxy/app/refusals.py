"""Upstream's refusals of inner requests, told as of the client's own."""

import re
from dataclasses import replace
from typing import Final

from proxy.search.rawjson import Printer
from proxy.upstream import Reply

_UNRECOGNIZED: Final = re.compile(rb"request \[/_m?search\](?= contains unrecognized parameter)")


def of_the_client(reply: Reply, path: str) -> Reply:
    """The refusal with the client's path where Elasticsearch names that of the inner request, which has no
    index in it.
    """
    if reply.status != 400 or _UNRECOGNIZED.search(reply.body) is None:
        return reply
    shown = Printer(pretty=False).value(path)[1:-1]
    return replace(reply, body=_UNRECOGNIZED.sub(lambda match: b"request [%b]" % shown, reply.body))
