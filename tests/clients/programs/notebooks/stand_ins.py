"""What the notebooks take from elsewhere, and what stands in for it here. All else of them runs as it is.

- What they ask the reader for (`getpass`): the Cloud ID is the proxy's URL, the API key any text.
- Films from GitHub or the Hugging Face hub (`urlopen`): the project's own, which have the same fields.
- `pip install …`: the packages are installed already.
- `telemetry.py` from GitHub: a module whose `enable_telemetry` returns the client.
- The model `cross-encoder/…` from the hub: a directory of that name where the program runs.
"""

import getpass
import io
import os
import subprocess
import urllib.request
from pathlib import Path
from typing import Any

ANSWERS = {"Elastic Cloud ID: ": os.environ["ES_URL"], "Elastic Api Key: ": "dGVzdDp0ZXN0"}
FILMS = ("/movies.json", "/small-movies.json")
TELEMETRY = "def enable_telemetry(client, notebook):\n    return client\n"


def answer(prompt: str = "Password: ", stream: Any = None) -> str:
    return ANSWERS[prompt]


def opened(url: str, *_: Any, **__: Any) -> io.BytesIO:
    assert url.endswith(FILMS), f"there is no stand-in for {url}"
    return io.BytesIO(Path(os.environ["FILMS"]).read_bytes())


def shell(command: str, names: dict[str, Any]) -> None:
    """Run a cell for the shell, with the program's texts as variables."""
    if command.startswith("pip install"):
        return
    if "telemetry.py" in command:
        Path("telemetry.py").write_text(TELEMETRY, encoding="utf-8")
        return
    variables = {name: value for name, value in names.items() if isinstance(value, str)}
    subprocess.run(["sh", "-ec", command], env={**os.environ, **variables}, check=True)


for module, name, stand_in in ((getpass, "getpass", answer), (urllib.request, "urlopen", opened)):
    setattr(module, name, stand_in)
