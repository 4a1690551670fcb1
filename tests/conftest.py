"""Options of the whole suite. Fixtures live beside the tests that use them."""

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--es-version",
        metavar="VERSION",
        help="Run the live tests against this Elasticsearch alone; default: the newest that runs here.",
    )
