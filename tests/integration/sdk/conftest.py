"""The E2B clients, unmodified, at the door of a real daemon.

The calls are made by two programs, tests/sdk/js/calls.mjs and tests/sdk/py/calls.py, once for each client with all cases
that were selected; each case is a test here. What came out is left in BUILD/compatibility.json.
"""
import json

import pytest
from packages import Packages, Unavailable
from sdkclients import BUILD, EXPECTED, Run, url_settings


CLI = "cli-2.19.0"
CLI_CALLS, RUN_OUTCOME = {}, {}


def pytest_configure(config):
    config.addinivalue_line("markers", "call(name): the line of the table that a test of the command line is")


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    report = (yield).get_result()
    mark = item.get_closest_marker("call")
    if mark and not report.skipped and (report.when == "call" or report.failed):
        CLI_CALLS[mark.args[0]] = {"verdict": "no" if report.failed else mark.kwargs.get("verdict", "yes")}


@pytest.fixture(scope="session")
def packages():
    return Packages(BUILD)


@pytest.fixture(scope="session")
def runs(request, packages, daemon):
    """runs(client): the Run of a client with the cases that this session selected."""
    started = {}

    def get(client):
        if client not in started:
            cases = [i.callspec.params["case"] for i in request.session.items
                     if i.originalname == "test_call" and i.callspec.params["client"] == client]
            try:
                started[client] = Run(client, cases, packages, url_settings(daemon))
            except Unavailable as e:
                started[client] = e
        if isinstance(started[client], Unavailable):
            pytest.skip(f"the client cannot be had: {started[client]}")
        return started[client]

    yield get
    for client, run in started.items():
        if isinstance(run, Run):
            run.close()
            if len(run.cases) < len(EXPECTED[client]["calls"]):
                run.seen.pop("never_called", None)  # it says something only of a run of all cases
            RUN_OUTCOME[client] = run.seen


def entry_of(seen):
    """What the table keeps of the lines of one run."""
    entry = {k: seen[k] for k in ("client", "never_called") if k in seen}
    entry["calls"] = {}
    for name, said in seen.items():
        if isinstance(said, dict):
            kept = ("verdict", "detail") if said["verdict"] in ("absent", "no") else ("verdict",)
            entry["calls"][name] = {k: said[k] for k in kept if k in said}
    return entry


def save(outcome):
    """What each client's calls came to, for tools/gen-compatibility."""
    path = BUILD / "compatibility.json"
    known = json.loads(path.read_text())["clients"] if path.exists() else {}
    entries = {client: entry_of(seen) for client, seen in outcome.items()}
    if CLI_CALLS:
        entries[CLI] = {"client": f"npm @e2b/cli {CLI.partition('-')[2]}", "calls": dict(CLI_CALLS)}
    for client, entry in entries.items():
        calls = known.setdefault(client, {"calls": {}})["calls"]
        calls.update(entry.pop("calls"))
        known[client].update(entry)
    path.write_text(json.dumps({"clients": known}, indent=1, ensure_ascii=False) + "\n")


def pytest_sessionfinish():
    save(RUN_OUTCOME)
