"""The CPU threads of the device's thread."""

from rerank_proxy.engine.batching.cpu import usable_cores


class DeviceThreads:
    """OpenMP keeps their number per thread: this is to be used on the thread that runs the models.

    Args:
        threads: As the setting `engine.threads`; 0 means the cores that this process may use.
    """

    def __init__(self, threads: int) -> None:
        self._most = threads or usable_cores()
        self._now: int | None = None

    def use(self, limit: int | None) -> None:
        """Take `limit` threads from now on, but never more than the settings give; None: as many as these."""
        wanted = self._most if limit is None else max(1, min(limit, self._most))
        if wanted == self._now:
            return
        import torch  # is imported by the time that a model runs, or takes its time here

        torch.set_num_threads(wanted)
        self._now = wanted
