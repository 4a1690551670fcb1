"""Keep the libraries that read models from connecting to anything of their own accord."""

import os
from typing import Final

_NO_TELEMETRY: Final = {"HF_HUB_DISABLE_TELEMETRY": "1", "DO_NOT_TRACK": "1"}
_OFFLINE: Final = {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1"}


def restrain_libraries(*, offline: bool) -> None:
    """Have the libraries of models report nothing about their use, and with `offline` never connect at all.

    They read these variables of the environment when they are imported, which has to come later; processes
    that are started later have them too. What is given already is left as it is, unless it would let them
    connect.
    """
    for name, value in _NO_TELEMETRY.items():
        os.environ.setdefault(name, value)
    if offline:
        os.environ.update(_OFFLINE)
