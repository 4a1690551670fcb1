"""Download an archive with a model, compare its checksum, and only then unpack it.

Arguments: the URL, the SHA-256 and the directory to unpack it in.
"""

import hashlib
import shutil
import sys
import tarfile
import tempfile
from urllib.request import urlopen

url, sha256, directory = sys.argv[1:]
with tempfile.TemporaryFile(dir=directory) as archive:
    with urlopen(url, timeout=60) as answer:
        shutil.copyfileobj(answer, archive, 1024 * 1024)
    archive.seek(0)
    found = hashlib.file_digest(archive, "sha256").hexdigest()
    if found != sha256:
        sys.exit(f"{url} has the SHA-256 {found}, not {sha256}: nothing is unpacked")
    archive.seek(0)
    with tarfile.open(fileobj=archive) as members:
        members.extractall(directory, filter="data")
print(f"unpacked {url} to {directory}")
