"""Spans of reranked searches, by OpenTelemetry, which is imported only where a collector is configured.

`opening.py` says whether there are any. A `Trace` (`trace.py`) has the spans of one request, which are the
`Span`s of `observe/stages.py`: the parts of the proxy know no others. `tracer.py` begins traces, and
continues those of clients. `exporting.py` sends what has ended, from a thread, and bounds what waits.
"""
