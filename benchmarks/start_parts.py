"""A start in parts, within one process: `python -m benchmarks.start_parts MODEL` prints one JSON line.

What stands at the top is imported by the interpreter anyway, so that each part has its own imports.
"""

import os
import sys
import time
from importlib import import_module

_IMPORTS = {
    "settings": "rerank_proxy.settings",
    "application": "rerank_proxy.app.serving",
    "torch": "torch",
    "loading": "rerank_proxy.engine.loading.load",
}
"""By the name of the part, in the order in which the application imports them."""

_parts: list[dict[str, object]] = []
_last = (0.0, time.perf_counter(), 0)


def part(name: str) -> None:
    """End a part, which began when the one before ended."""
    global _last
    now = (time.process_time(), time.perf_counter(), len(sys.modules))
    cpu_s, wall_s, modules = (each - before for each, before in zip(now, _last, strict=True))
    with open("/proc/self/statm", encoding="ascii") as file:
        rss_mib = int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20
    _parts.append({"name": name, "cpu_s": cpu_s, "wall_s": wall_s, "modules": modules, "rss_mib": rss_mib})
    _last = now


def main(source: str) -> None:
    """Start as the application does, and print what each part took."""
    part("interpreter")
    from rerank_proxy.concurrency.collection import no_collection

    with no_collection():
        for name, module in _IMPORTS.items():
            if name == "torch":
                _before_torch()
            import_module(module)
            part(f"import {name}")
    _score(source)
    import json

    print(json.dumps(_parts))


def _before_torch() -> None:
    # Imported here: it is part of the application, which has been imported by now.
    from rerank_proxy.engine.backends.cpu import sleep_while_waiting

    sleep_while_waiting()


def _score(source: str) -> None:
    from rerank_proxy.engine.backends.cpu import DeviceThreads
    from rerank_proxy.engine.encoding.encode import gathered
    from rerank_proxy.engine.loading.choose import load
    from rerank_proxy.engine.loading.loaded_model import warm_up
    from rerank_proxy.engine.rows import Batch
    from rerank_proxy.settings import EngineSettings, ModelSettings

    settings = EngineSettings(device="cpu", offline=True)
    DeviceThreads(settings.threads).use(None)
    loaded = load("model", ModelSettings(source=source), settings)
    part("load the model")
    warm_up(loaded)
    part("warm up")
    texts = ["A cannibal helps the FBI.", "A dog finds its way home."]
    rows = gathered(loaded.scorer.encode("flesh-eating bad guy", texts, range(2 + loaded.scorer.texts_at)))
    loaded.backend.score(Batch.of(rows))
    part("score two texts")


if __name__ == "__main__":
    main(sys.argv[1])
