"""How the recording of one search is asked for. `search.recording` says what is in one."""

from typing import Final

HEADER: Final = "x-rerank-record"
"""Of a request: the key of its recording, which is good for one request. Keys come from the application's
control socket alone (`POST /recordings`), as does what was recorded (`GET /recordings/KEY`, once). Any other
value is as good as none.
"""
