"""Creating sandboxes as E2B's clients do, and every field of the request."""
import concurrent.futures
import json

import pytest

from conftest import until
from controlplane import TIME, control, refused  # noqa: F401

pytestmark = pytest.mark.root


@pytest.mark.parametrize("version", [1, 2])
def test_create_get_kill(control, version):
    made = control.try_create(version, secure=True, timeout=60, metadata={"a": "b"}, envVars={"A": "1"}).json()
    assert made["templateID"] == "base" and made["clientID"] and made["envdVersion"] >= "0.6.13" and made["envdAccessToken"]
    assert made["domain"] is None and made["trafficAccessToken"] is None
    got = control.detail(made["sandboxID"])
    assert got["state"] == "running" and got["metadata"] == {"a": "b"} and got["envdAccessToken"] == made["envdAccessToken"]
    assert got["lifecycle"] == {"autoResume": False, "onTimeout": "kill"} and got["allowInternetAccess"] is None
    assert got["cpuCount"] >= 1 and got["memoryMB"] > 0 and got["diskSizeMB"] > 0
    assert TIME.fullmatch(got["startedAt"]) and TIME.fullmatch(got["endAt"]) and got["startedAt"] < got["endAt"]
    assert control.delete(f"/sandboxes/{made['sandboxID']}").status_code == 204
    refused(control.delete(f"/sandboxes/{made['sandboxID']}"), 404)
    refused(control.get(f"/sandboxes/{made['sandboxID']}"), 404, made["sandboxID"])


def left_s(daemon, id):
    import datetime
    end = daemon.get(f"/api/sandboxes/{id}").json()["expires_at"]
    return (datetime.datetime.fromisoformat(end.replace("Z", "+00:00")) - datetime.datetime.now(datetime.timezone.utc)).total_seconds()


def test_default_times_differ_by_version(control, daemon):
    assert 0 < left_s(daemon, control.create(version=1)) <= 15
    assert 240 < left_s(daemon, control.create(version=2)) <= 300


def test_version_1_is_open_unless_it_is_secured(control):
    assert "envdAccessToken" not in control.try_create(1, timeout=60).json()
    assert "envdAccessToken" not in control.try_create(1, timeout=60, secure=False).json()
    assert control.try_create(2, timeout=60).json()["envdAccessToken"]


def test_unknown_fields_and_nulls_are_ignored(control):
    made = control.try_create(timeout=None, metadata=None, envVars=None, mcp=None, network=None, autoResume=None, volumeMounts=None,
                              iam=None, secure=None, something={"new": [1]})
    assert made.status_code == 201, made.text
    assert control.try_create(mcp={"browser": {}}).status_code == 201
    assert control.try_create(volumeMounts=[], iam={}, network={}).status_code == 201


def test_the_variables_reach_processes(control, daemon):
    id = control.create(envVars={"A": "two  words", "B": "'\"$HOME\\"})
    assert daemon.exec_in(id, 'printf "%s|%s" "$A" "$B"')["stdout"] == "two  words|'\"$HOME\\"


def test_a_body_in_chunks(control):
    reply = control.request("POST", "/v2/sandboxes", data=iter([b'{"templateID":', b'"base"}']), headers={"Content-Type": "application/json"})
    assert reply.status_code == 201
    control.made.append(reply.json()["sandboxID"])


@pytest.mark.parametrize("name", ["base", "base:default", " Base ", "BASE", "\t base\r\n", "BASE:DEFAULT"])
def test_names_of_the_template(control, name):
    assert control.try_create(templateID=name).json()["templateID"] == "base"


@pytest.mark.parametrize("name", ["code-interpreter-v1", "desktop", "base:v2", "team/base", "abcdefghij0123456789"])
def test_a_template_that_is_not_there(control, name):
    assert refused(control.try_create(templateID=name), 404)["message"] == f"template '{name}' not found"


@pytest.mark.parametrize("name", ["", "  ", ":default", "a b", "../base", "x" * 300, "bäse", "a\nb", "base:", "base:default:x", "a:b:c", "/base",
                                  "a/", "a/b/c", "a/:x", "a:b/c"])
def test_a_template_reference_that_is_none(control, name):
    body = refused(control.try_create(templateID=name), 404 if name == "../base" else 400)
    assert name == "../base" or "Invalid template reference" in body["message"]


@pytest.mark.parametrize("timeout, text", [(0, "Timeout must be greater than 0"), (-1, "Timeout must be greater than 0"),
                                           (86401, "Timeout cannot be greater than 24 hours"), (2 ** 62, "Timeout cannot be greater")])
def test_times_out_of_range(control, timeout, text):
    for version in (1, 2):
        refused(control.try_create(version, timeout=timeout), 400, text)


def test_the_longest_time_is_the_servers(make_daemon):
    from controlplane import Control
    control = Control(make_daemon("--max-lifetime", "3600"))
    refused(control.try_create(timeout=3601), 400, "Timeout cannot be greater than 1 hours")
    id = control.create(timeout=3600)
    refused(control.post(f"/sandboxes/{id}/timeout", {"timeout": 3601}), 400, "1 hours")
    refused(control.post(f"/sandboxes/{id}/connect", {"timeout": 3601}), 400, "1 hours")
    control.close()


WRONG = [
    ("{}", "templateID"), ("", "templateID"), ('{"templateID":7}', "templateID"), ('{"templateID":null}', "templateID"),
    ('{"templateID":"base","timeout":"60"}', "timeout"), ('{"templateID":"base","timeout":1.5}', "timeout"),
    ('{"templateID":"base","timeout":1e400}', "timeout"), ('{"templateID":"base","metadata":{"a":1}}', "metadata"),
    ('{"templateID":"base","metadata":[]}', "metadata"), ('{"templateID":"base","envVars":{"A=B":"1"}}', "envVars:"),
    ('{"templateID":"base","envVars":{"":"1"}}', "env"), ('{"templateID":"base","autoPause":1}', "autoPause"),
    ('{"templateID":"base","autoResume":true}', "autoResume"), ('{"templateID":"base","secure":"yes"}', "secure"),
    ('{"templateID":"base","network":{"allowOut":"x"}}', "network.allowOut"), ('{"templateID":"base","volumeMounts":{}}', "volumeMounts"),
    ('{"templateID":"base","templateID":"base"}', "templateID"), ('{"templateID":"ba\\u0000se"}', ""), ('{"templateID":"base"', ""),
    ('{"templateID":"base","mcp":[1]}', "mcp"), ('{"templateID":"base","mcp":"x"}', "mcp"), ('{"templateID":"base","iam":7}', "iam"),
    ("[]", ""), ("null", ""), ('{"templateID":"base"}x', ""), ("\x00", ""), ('{"templateID":"\\ud800"}', ""), ("[" * 100, ""),
]


@pytest.mark.parametrize("text, names", WRONG)
def test_wrong_bodies(control, text, names):
    reply = control.request("POST", "/sandboxes", data=text.encode(), headers={"Content-Type": "application/json"})
    assert names in refused(reply, 400)["message"]


def test_too_large_bodies(control):
    big = json.dumps({"templateID": "base", "metadata": {"k": "x" * (2 << 20)}})
    refused(control.request("POST", "/sandboxes", data=big), 413)
    refused(control.try_create(metadata={f"k{i}": "v" for i in range(100)}), 400, "metadata")
    refused(control.try_create(metadata={"k": "v" * 5000}), 400, "metadata")
    refused(control.try_create(envVars={f"K{i}": "v" for i in range(300)}), 400, "envVars")


def test_what_is_not_served_says_so(control):
    for body in ({"volumeMounts": [{"name": "v", "path": "/v"}]}, {"iam": {"tokens": {"t": {"audience": "a", "tokenType": "x"}}}},
                 {"network": {"rules": {"h": [{"transform": {"headers": {"a": "b"}}}]}}}, {"network": {"egressProxy": {"address": "a:1"}}},
                 {"network": {"maskRequestHost": "x"}}, {"network": {"httpsPorts": [443]}}):
        reply = control.try_create(**body)
        refused(reply, 501)
        assert reply.headers["Should-Retry"] == "false"
    assert control.ids() == []


def test_network_is_accepted_and_shown(control, daemon):
    network = {"allowOut": ["1.1.1.1", "*.example.com"], "denyOut": ["0.0.0.0/0", "::/0"]}
    assert control.try_create(network={"maskRequestHost": "", "rules": {}, "egressProxy": None}).status_code == 201
    id = control.create(network=network, allow_internet_access=True)
    got = control.detail(id)
    assert got["network"] == network and got["allowInternetAccess"] is True
    assert daemon.get(f"/api/sandboxes/{id}").json()["internet"] is False
    assert control.detail(control.create(allow_internet_access=False))["allowInternetAccess"] is False


@pytest.mark.parametrize("network", [{"denyOut": ["example.com"]}, {"allowOut": ["example.com"]}, {"denyOut": ["1.2.3.4/33"]},
                                     {"denyOut": ["1.2.3.4/"]}, {"allowOut": ["x" * 100]}, {"denyOut": [""]}])
def test_network_rules_that_make_no_sense(control, network):
    refused(control.try_create(network=network), 400, "network egress")


def test_private_traffic_needs_a_secure_sandbox(control):
    refused(control.try_create(1, network={"allowPublicTraffic": False}), 400, "secure")
    made = control.try_create(1, secure=True, network={"allowPublicTraffic": False}).json()
    assert made["trafficAccessToken"] and made["trafficAccessToken"] != made["envdAccessToken"]
    assert control.try_create(2, network={"allowPublicTraffic": False}).json()["trafficAccessToken"]
    assert control.try_create(2, network={"allowPublicTraffic": True}).json()["trafficAccessToken"] is None


@pytest.mark.parametrize("body", [{"autoPauseMemory": False}, {"autoPause": False, "autoPauseMemory": False},
                                  {"autoPause": True, "autoPauseMemory": False, "autoResume": {"enabled": True}}])
def test_pausing_without_memory_has_its_rules(control, body):
    refused(control.try_create(**body), 400, "autoPauseMemory")


def test_start_times_grow_strictly(control):
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: control.create(), range(16)))
    times = [s["startedAt"] for s in control.list().json()]
    assert len(set(times)) == 16 and times == sorted(times, reverse=True)


# --- Idempotency-Key

KEY = {"Idempotency-Key": "key-1"}


def test_the_same_key_makes_one(control, daemon):
    first = control.try_create(headers={"Idempotency-Key": "same-1"}, metadata={"a": "b"})
    again = control.try_create(headers={"Idempotency-Key": "same-1"}, metadata={"a": "b"})
    assert first.status_code == again.status_code == 201 and first.json() == again.json()
    assert again.headers["Idempotent-Replayed"] == "true" and "Idempotent-Replayed" not in first.headers
    assert len(control.ids()) == 1
    refused(control.try_create(headers={"Idempotency-Key": "same-1"}, metadata={"a": "c"}), 422)
    assert control.try_create(headers={"Idempotency-Key": "other-1"}, metadata={"a": "c"}).json()["sandboxID"] != first.json()["sandboxID"]


def test_the_same_key_after_the_sandbox_is_gone(control):
    first = control.try_create(headers={"Idempotency-Key": "gone-1"}).json()
    control.delete(f"/sandboxes/{first['sandboxID']}")
    again = control.try_create(headers={"Idempotency-Key": "gone-1"})
    assert again.status_code == 201 and again.json()["sandboxID"] == first["sandboxID"] and "envdAccessToken" not in again.json()


def test_a_failed_create_may_be_sent_again(control):
    headers = {"Idempotency-Key": "fail-1"}
    refused(control.try_create(headers=headers, templateID="nobody"), 404)
    refused(control.try_create(headers=headers, templateID="nobody"), 404)
    assert control.try_create(headers=headers).status_code == 201


@pytest.mark.parametrize("key", ["", "x" * 256, "Upper", "a b", "a_b", "\xe9"])
def test_keys_that_are_none(control, key):
    refused(control.try_create(headers={"Idempotency-Key": key}), 400, "Idempotency-Key")


def test_keys_of_every_form(control):
    for key in ("a", "0-9-z", "x" * 255):
        first = control.try_create(headers={"Idempotency-Key": key})
        assert first.status_code == 201 and control.try_create(headers={"Idempotency-Key": key}).json() == first.json()


def test_a_key_used_at_once_makes_one(control):
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        replies = list(pool.map(lambda _: control.try_create(headers={"Idempotency-Key": "race-1"}), range(8)))
    assert {r.status_code for r in replies} <= {201, 409}
    assert len({r.json()["sandboxID"] for r in replies if r.status_code == 201}) == 1
    for r in replies:
        if r.status_code == 409:
            refused(r, 409)
            assert r.headers["Should-Retry"] == "true" and r.headers["Retry-After"] == "1"
    until(lambda: len(control.ids()) == 1)


def test_no_token_is_written_down(control, fresh_daemon):
    from controlplane import Control
    mine = Control(fresh_daemon)
    made = mine.try_create(headers={"Idempotency-Key": "k"}, network={"allowPublicTraffic": False}).json()
    fresh_daemon.stop()
    kept = b"".join(p.read_bytes() for p in (fresh_daemon.state / "gateway").iterdir() if p.is_file()) + fresh_daemon.log().encode()
    for token in (made["envdAccessToken"], made["trafficAccessToken"]):
        assert token.encode() not in kept
    fresh_daemon.start()
    again = mine.try_create(headers={"Idempotency-Key": "k"}, network={"allowPublicTraffic": False}).json()
    assert again == made
