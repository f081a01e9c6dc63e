import pytest

from engineclient import Engine


@pytest.fixture
def make_engine():
    """Engines of a test; at its end each must leave nothing on the host."""
    made = []

    def make(*options, **kwargs):
        made.append(Engine(*options, **kwargs))
        return made[-1].start()

    yield make
    for engine in made:
        engine.clear()


@pytest.fixture
def engine(make_engine):
    return make_engine()


@pytest.fixture(scope="module")
def shared():
    """One engine for tests that only look."""
    engine = Engine().start()
    yield engine
    engine.clear()


@pytest.fixture(scope="module")
def box(shared):
    """A sandbox for tests that only look, as a function that runs a command in it."""
    id = shared.create()["id"]

    def run(argv, **options):
        return shared.run(id, argv, **options)

    run.id = id
    return run
