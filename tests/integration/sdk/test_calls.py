"""Each call of each client. tests/sdk/compatibility.json holds what has to come out, docs/compatibility.md shows it."""
import json
import subprocess

import pytest
from packages import SDK, Unavailable
from sdkclients import CLIENTS, EXPECTED, outcome

pytestmark = pytest.mark.root
CALLS = [(client, case) for client in CLIENTS for case in EXPECTED[client]["calls"]]


@pytest.mark.parametrize("client,case", CALLS, ids=[f"{client} {case}" for client, case in CALLS])
def test_call(client, case, runs):
    said = runs(client).take(case)
    assert outcome(said) == EXPECTED[client]["calls"][case]


@pytest.mark.parametrize("client", CLIENTS)
def test_no_method_of_the_client_was_left_out(client, runs, request):
    """Each public method of the SDK's classes is called by some case, but for those the table names."""
    chosen = [i for i in request.session.items if i.originalname == "test_call" and i.callspec.params["client"] == client]
    if len(chosen) < len(EXPECTED[client]["calls"]):
        pytest.skip("only some of the cases were selected")
    run = runs(client)
    assert run.take("never_called") == EXPECTED[client]["never_called"]
    assert run.take("client") == EXPECTED[client]["client"]


@pytest.mark.parametrize("client", CLIENTS)
def test_the_table_has_every_case(client, packages):
    try:
        if client.startswith("js"):
            command, env = [*packages.node()[0], str(SDK / "js" / "calls.mjs")], None
        else:
            command, env = ["/usr/bin/python3", str(SDK / "py" / "calls.py"), "list"], {"PYTHONPATH": str(packages.py())}
    except Unavailable as e:
        pytest.skip(f"the client cannot be had: {e}")
    names = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, env=env).stdout.splitlines()
    assert names == list(EXPECTED[client]["calls"])


def test_the_versions_are_those_of_the_manifests():
    wanted = json.loads((SDK / "js" / "package.json").read_text())["dependencies"]
    pinned = (SDK / "py" / "requirements.txt").read_text().partition("==")[2].split()[0]
    for client, entry in EXPECTED.items():
        kind, _, version = client.removesuffix("-domain").partition("-")
        if kind == "js":
            assert wanted[f"e2b-{version}"] == f"npm:e2b@{version}"
        elif kind == "cli":
            assert wanted["@e2b/cli"] == version
        assert entry["client"].split()[2] == (pinned if kind == "py" else version)
