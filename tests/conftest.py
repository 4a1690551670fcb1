"""Options of the whole suite. Fixtures live beside the tests that use them."""

import hypothesis
import pytest
from hypothesis import HealthCheck

hypothesis.settings.register_profile(
    "suite",
    # How long an example takes says how busy the machine is.
    deadline=None,
    suppress_health_check=[
        HealthCheck.too_slow,
        # Those that properties take are models and servers, which one example leaves as the next wants them.
        HealthCheck.function_scoped_fixture,
    ],
)
hypothesis.settings.load_profile("suite")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--es-version",
        metavar="VERSION",
        help="Run the live tests against this Elasticsearch alone; default: the newest that runs here.",
    )
