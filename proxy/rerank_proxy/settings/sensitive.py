"""Which settings of a service may be secrets, by their names: what one calls a secret, it alone knows."""

import re
from typing import Final

_SENSITIVE: Final = re.compile(
    "key|secret|token|passw|pwd|credential|account|auth|bearer|signature|header", re.IGNORECASE
)


def may_be_secret(name: str) -> bool:
    """Tell whether a setting may be a secret. One that names the file of a secret is none."""
    return _SENSITIVE.search(name) is not None and not name.endswith("_file")
