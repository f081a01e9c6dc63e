"""Clients that know only E2B_DOMAIN, over TLS, in a network namespace of their own: https://api.<domain> and
https://<port>-<id>.<domain>. A part of the calls: those whose way to the server differs."""
import pathlib
import sys

import pytest
from sdkclients import BY_DOMAIN, EXPECTED, outcome

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
from domain import domain  # noqa: E402,F401 (a fixture)

pytestmark = pytest.mark.root
CALLS = [(client, case) for client in BY_DOMAIN for case in EXPECTED[client]["calls"]]


@pytest.mark.parametrize("client,case", CALLS, ids=[f"{client} {case}" for client, case in CALLS])
def test_call_by_domain(client, case, domain_runs):
    said = domain_runs(client).take(case)
    assert outcome(said) == EXPECTED[client]["calls"][case]
