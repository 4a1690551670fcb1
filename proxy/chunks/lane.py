"""Where texts are cut into chunks: on one thread for all calls, because Python runs one at a time anyway."""

from typing import Final

from proxy.turns import Turns

LANE: Final = Turns(1, "chunks")
