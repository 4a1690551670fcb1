"""The engine beside other ways to run the same cross-encoder, each in a process of its own.

`make bench ARGS=peers` compares them in one run, in turn: sentence-transformers, ONNX Runtime in float32 and
in int8, OpenVINO, FlashRank's and infinity's own runners. They read one directory (see `benchmarks.engine`),
get the same texts, and run on the same cores. Scores are compared before anything is timed. Each pads by its
own rules (`runners.RULES`). Processor time is that of a peer's own process. What needs other versions of
libraries has an environment below `build/bench`, made on first use from `benchmarks/requirements`; what
cannot be installed is left out with a line that says so.
"""
