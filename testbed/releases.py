"""The Elasticsearch releases that the project is tested against, and what each needs."""

from dataclasses import dataclass

from testbed.errors import TestbedError


@dataclass(frozen=True, slots=True)
class Release:
    """A release of Elasticsearch.

    Attributes:
        java_min: The oldest Java that runs it.
        java_tested: The newest Java that it is known to run on; a newer one is a last resort.
        zip_sha256: The checksum of the zip of the minimal distribution, which has the server, Lucene and
            security, but none of the modules and no Java.
        zip_bytes: The size of that zip.
    """

    version: str
    java_min: int
    java_tested: int
    zip_sha256: str
    zip_bytes: int

    @property
    def major(self) -> int:
        return int(self.version.partition(".")[0])


RELEASES = (
    Release(
        version="9.5.0",
        java_min=21,
        java_tested=25,
        zip_sha256="db0e275fd790f723eca7bcde96069fd6fed304ad23afdb70c8c09553dd9e8b1b",
        zip_bytes=129_856_182,
    ),
    Release(
        version="8.19.21",
        java_min=17,
        java_tested=25,
        zip_sha256="215d5f3dbf0609a149f6218a9e47b6ae2df34ebbff3c5754e35f15a5e5393c8a",
        zip_bytes=106_871_955,
    ),
)
"""Best first."""


def find_release(version: str) -> Release:
    """Return the release of a version.

    Raises:
        TestbedError: The version is not in the table.
    """
    for release in RELEASES:
        if release.version == version:
            return release
    known = " or ".join(release.version for release in RELEASES)
    raise TestbedError(f"no Elasticsearch {version} is set up here: choose {known}")
