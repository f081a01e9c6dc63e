import pytest

from engineclient import Engine, alive


@pytest.fixture
def make_engine():
    """Engines of one test; at its end each must leave nothing on the host."""
    made = []

    def make(*options, **kwargs):
        made.append(Engine(*options, **kwargs))
        return made[-1].start()

    yield make
    for engine in made:
        engine.clear()


class Keeper:
    """Keeps one engine for many tests: starting one builds a template and fills pools."""

    engine = None

    def get(self):
        if self.engine is None:
            self.engine = Engine().start()
        return self.engine

    def tidy(self):
        """After a test: an engine runs, has no sandbox, and nothing of one is left."""
        engine = self.engine
        try:
            if not alive(engine.process.pid):
                engine.gate.close()
                engine.start()
            elif engine.gate.closed:
                engine.gate.reopen(engine)
            engine.empty()
        except BaseException:
            self.drop()
            raise

    def drop(self):
        engine, self.engine = self.engine, None
        if engine:
            engine.clear()


@pytest.fixture(scope="session")
def keeper():
    keeper = Keeper()
    yield keeper
    keeper.drop()


@pytest.fixture
def engine(keeper):
    """An engine without sandboxes; the test may kill and restart it."""
    yield keeper.get()
    keeper.tidy()


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
