"""The package `sandbox` as its wheel holds it, built once a run below BUILD/python, against a daemon of the tests: fixtures."""
import logging
import sys

import pytest

from conftest import SANITIZED
from package_tools import SITE, build_wheel, unpack


@pytest.fixture(scope="session")
def wheel():
    if SANITIZED:
        pytest.skip("an interpreter without sanitizers cannot load a sanitized library")
    return build_wheel()


@pytest.fixture(scope="session")
def package(wheel):
    """Importable in this process; its folder."""
    unpack(wheel, SITE)
    sys.path.insert(0, str(SITE))
    logging.getLogger("sandbox").setLevel(logging.NOTSET)
    return SITE


@pytest.fixture
def client(package, daemon):
    """The package's default client speaks to the tests' daemon."""
    import sandbox
    return sandbox.configure(url=daemon.url)


@pytest.fixture(scope="module")
def module_box(package, daemon):
    import sandbox
    sandbox.configure(url=daemon.url)
    made = sandbox.Sandbox.create()
    yield made
    made.delete(missing_ok=True)


@pytest.fixture
def box(client, module_box):
    """A sandbox that the tests of a file share."""
    return module_box


@pytest.fixture
def fresh_box(client):
    import sandbox
    made = sandbox.Sandbox.create()
    yield made
    made.delete(missing_ok=True)
