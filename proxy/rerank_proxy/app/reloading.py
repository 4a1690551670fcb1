"""Settings that are read again while the application runs."""

from collections.abc import Callable

from rerank_proxy.settings import Settings

Use = Callable[[Settings], None]


class Reloading:
    """What uses new settings, in the order in which it was added.

    Only the first may refuse them, so that they are taken over as a whole or not at all.
    """

    def __init__(self) -> None:
        self._uses: list[Use] = []

    def add(self, use: Use) -> None:
        self._uses.append(use)

    def apply(self, settings: Settings) -> None:
        """Have everything use new settings.

        Raises:
            InvalidSettingsError: They cannot be served; the old ones remain.
        """
        for use in self._uses:
            use(settings)
