"""Options of the whole suite, and its two profiles. Fixtures live beside the tests that use them.

The push profile draws few examples, always the same, so that a push cannot fail by chance. The long profile
(`--long`, `make test-long`) draws many, other ones each time, and runs more tests against every version of
Elasticsearch, and the cases that are marked `long`: those that nearly repeat what others have tried.
"""

import gc
import os
import sys
from collections.abc import Generator, Mapping
from contextvars import copy_context
from functools import wraps
from types import ModuleType
from typing import cast

import hypothesis
import pytest
from hypothesis import HealthCheck

# Before torch is imported, here and in processes that tests start. Tiny models gain nothing from a second
# thread; on a busy machine the threads wait for each other, spinning, for several times as long as they
# compute. Engines set their own number for the threads that run models.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# Nor do those threads spin while they wait: most of the processor time of tests of models went into that.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

# jsonschema, when it is imported, builds 38 parsers of it, which takes seconds, to check addresses with
# letters of all languages where formats are checked: nowhere here. It goes on without.
sys.modules.setdefault("rfc3987_syntax", cast("ModuleType", None))

PUSH = "push"
LONG = "long"

hypothesis.settings.register_profile(
    PUSH,
    # How long an example takes says how busy the machine is.
    deadline=None,
    suppress_health_check=[
        HealthCheck.too_slow,
        # Those that properties take are models and servers, which one example leaves as the next wants them.
        HealthCheck.function_scoped_fixture,
    ],
    max_examples=25,
    derandomize=True,
    # Nothing is drawn by chance, so there is nothing to remember.
    database=None,
)
hypothesis.settings.register_profile(
    LONG,
    parent=hypothesis.settings.get_profile(PUSH),
    max_examples=400,
    derandomize=False,
    database=hypothesis.settings().database,
    print_blob=True,
)
# Modules that are imported before pytest is configured, if any, see the profile of every push.
hypothesis.settings.load_profile(PUSH)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--es-version",
        metavar="VERSION",
        help="Run the live tests against this Elasticsearch alone; default: the newest that runs here.",
    )
    parser.addoption(
        "--long",
        action="store_true",
        help="Draw many random examples, and run more tests against every version of Elasticsearch.",
    )


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave what is marked `long` to the long profile, and let the properties of that take their time."""
    if not config.getoption("long"):
        apart = [item for item in items if item.get_closest_marker("long")]
        if apart:
            config.hook.pytest_deselected(items=apart)
            items[:] = [item for item in items if not item.get_closest_marker("long")]
    for item in items:
        if config.getoption("long") and getattr(getattr(item, "obj", None), "is_hypothesis_test", False):
            item.add_marker(pytest.mark.timeout(0), append=False)


def pytest_configure(config: pytest.Config) -> None:
    """Load the profile before any test is imported: decorators read it."""
    config.addinivalue_line("markers", "long: one more of many cases that are alike; run with --long alone")
    hypothesis.settings.load_profile(LONG if config.getoption("long") else PUSH)


def pytest_collection_finish() -> None:
    """Set aside what was imported and collected: no collection of garbage has to go through it again."""
    gc.collect()
    gc.freeze()


@pytest.hookimpl(wrapper=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> Generator[None, object, object]:
    """Run each test in a context and an environment of its own: what it leaves there, no other test meets."""
    test = pyfuncitem.obj
    environment = dict(os.environ)

    @wraps(test)
    def alone(*arguments: object, **more: object) -> object:
        return copy_context().run(test, *arguments, **more)

    pyfuncitem.obj = alone
    try:
        return (yield)
    finally:
        pyfuncitem.obj = test  # which reports look at
        _restore(environment)


def _restore(environment: Mapping[str, str]) -> None:
    """Undo what was changed in the environment, and touch nothing else: threads may be reading it."""
    for name in os.environ.keys() - environment.keys():
        del os.environ[name]
    for name, value in environment.items():
        if os.environ.get(name) != value:
            os.environ[name] = value


def pytest_unconfigure() -> None:
    """Let the interpreter take down what was set aside, before libraries look for what is left of them."""
    gc.unfreeze()
