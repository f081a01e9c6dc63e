"""The E2B clients, unmodified, at the door of a real daemon.

The calls are made by two programs, tests/sdk/js/calls.mjs and tests/sdk/py/calls.py, once for each client with all cases
that were selected; each case is a test here. What came out is left in BUILD/compatibility.json.
"""
import json
import pathlib
import sys

import pytest
from packages import Packages, Unavailable
from sdkclients import BUILD, EXPECTED, Run, outcome, url_settings


CLI = "cli-2.19.0"
CLI_CALLS, RUN_OUTCOME = {}, {}


def pytest_configure(config):
    # helpers beside the conftest.py above say "from conftest import ...": that one is meant
    above = str(pathlib.Path(__file__).resolve().parent.parent / "conftest.py")
    sys.modules["conftest"] = config.pluginmanager.get_plugin(above) or sys.modules["conftest"]
    config.addinivalue_line("markers", "call(name): the line of the table that a test of the command line is")


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    report = (yield).get_result()
    mark = item.get_closest_marker("call")
    if mark and not report.skipped and (report.when == "call" or report.failed):
        CLI_CALLS[mark.args[0]] = "no: it failed" if report.failed else mark.kwargs.get("verdict", "yes")


@pytest.fixture(scope="session")
def packages():
    return Packages(BUILD)


class Runs:
    """One Run for each client, with the cases that this session selected; started when the first of them is asked for."""

    def __init__(self, session, packages, test, settings, wrapper=()):
        self.session, self.packages, self.test = session, packages, test
        self.settings, self.wrapper, self.started = settings, wrapper, {}

    def cases(self, client):
        return [i.callspec.params["case"] for i in self.session.items
                if i.originalname == self.test and i.callspec.params["client"] == client]

    def __call__(self, client):
        if client not in self.started:
            try:
                self.started[client] = Run(client, self.cases(client), self.packages, self.settings(), self.wrapper)
            except Unavailable as e:
                self.started[client] = e
        if isinstance(self.started[client], Unavailable):
            pytest.skip(f"the client cannot be had: {self.started[client]}")
        return self.started[client]

    def close(self):
        for client, run in self.started.items():
            if isinstance(run, Run):
                run.close()
                if len(run.cases) < len(EXPECTED[client]["calls"]):
                    run.seen.pop("never_called", None)  # it says something only of a run of all cases
                RUN_OUTCOME[client] = run.seen


@pytest.fixture(scope="session")
def runs(request, packages, daemon):
    """runs(client): the Run of a client that finds the daemon by its URL settings."""
    made = Runs(request.session, packages, "test_call", lambda: url_settings(daemon))
    yield made
    made.close()


@pytest.fixture(scope="module")
def domain_runs(request, packages, domain):
    """The same for clients that know only the domain."""
    made = Runs(request.session, packages, "test_call_by_domain", domain.env, domain.enter())
    yield made
    made.close()


def entry_of(seen):
    """What the table keeps of the lines of one run."""
    entry = {k: seen[k] for k in ("client", "never_called") if k in seen}
    entry["calls"] = {}
    for name, said in seen.items():
        if isinstance(said, dict):
            entry["calls"][name] = outcome(said)
    return entry


def save(runs_seen):
    """What each client's calls came to, for tools/gen-compatibility."""
    path = BUILD / "compatibility.json"
    known = json.loads(path.read_text())["clients"] if path.exists() else {}
    entries = {client: entry_of(seen) for client, seen in runs_seen.items()}
    if CLI_CALLS:
        entries[CLI] = {"client": f"npm @e2b/cli {CLI.partition('-')[2]}", "calls": dict(CLI_CALLS)}
    for client, entry in entries.items():
        calls = known.setdefault(client, {"calls": {}})["calls"]
        calls.update(entry.pop("calls"))
        known[client].update(entry)
    path.write_text(json.dumps({"clients": known}, indent=1, ensure_ascii=False) + "\n")


def pytest_sessionfinish():
    save(RUN_OUTCOME)
