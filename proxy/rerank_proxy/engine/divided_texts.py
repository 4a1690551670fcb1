"""The windows of texts that are too long, as jobs of their own, shared and bounded like all others."""

from collections.abc import Mapping

from rerank_proxy.engine.batching.cache import OutputCache
from rerank_proxy.engine.encoding.windows import stacked, window_key
from rerank_proxy.engine.rows import Output, Row


class DividedTexts:
    """Makes one row per window of rows by the key of their text, and one output per text of what they give.

    Windows that an earlier call had run before it was given up do not run again.

    Attributes:
        rows: What has to run.
    """

    def __init__(self, rows: Mapping[bytes, Row], cache: OutputCache) -> None:
        self._cache = cache
        self._windows: dict[bytes, list[bytes]] = {}
        self._outputs: dict[bytes, Output] = {}
        self.rows: dict[bytes, Row] = {}
        for key, row in rows.items():
            if row.further:
                self._divide(key, row)
            else:
                self.rows[key] = row

    def _divide(self, key: bytes, row: Row) -> None:
        self._windows[key] = [window_key(key, number) for number in range(len(row.windows))]
        for each, window in zip(self._windows[key], row.windows, strict=True):
            known = self._cache.get(each)
            if known is None:
                self.rows[each] = window
            else:
                self._outputs[each] = known

    def joined(self, outputs: Mapping[bytes, Output]) -> dict[bytes, Output]:
        """Return the outputs by text. Remember those of divided texts in place of their windows'."""
        known = {**self._outputs, **outputs}
        for key, windows in self._windows.items():
            of_text = [known.pop(each) for each in windows]
            values = stacked([output.values for output in of_text])
            known[key] = Output(values, any(output.truncated for output in of_text))
            for each in windows:
                self._cache.forget(each)
            self._cache.put(key, known[key])
        return known
