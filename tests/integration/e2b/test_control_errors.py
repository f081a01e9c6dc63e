"""E2B's one shape of errors: what is not served, unknown paths, keys and browsers; field report 16."""
import json

import pytest

from controlplane import Control, control, refused  # noqa: F401

pytestmark = pytest.mark.root

MISSING = [
    ("POST", "/sandboxes/{}/fork"), ("POST", "/sandboxes/{}/snapshots"), ("GET", "/snapshots"), ("PUT", "/sandboxes/{}/network"),
    ("POST", "/v3/templates"), ("POST", "/v2/templates"), ("POST", "/templates"), ("POST", "/templates/base"),
    ("GET", "/templates/base/files/abc"), ("POST", "/templates/base/builds/b"), ("POST", "/v2/templates/base/builds/b"),
    ("GET", "/templates/base/builds/b/status"), ("GET", "/templates/base/builds/b/logs"), ("PATCH", "/templates/base"),
    ("PATCH", "/v2/templates/base"), ("DELETE", "/templates/base"), ("POST", "/templates/tags"), ("DELETE", "/templates/tags"),
    ("GET", "/templates/base/tags"), ("GET", "/volumes"), ("POST", "/volumes"), ("GET", "/volumes/v"), ("DELETE", "/volumes/v"),
    ("GET", "/volumecontent/v/path"), ("GET", "/secrets"), ("POST", "/secrets"), ("GET", "/secrets/s"), ("POST", "/secrets/s"),
    ("DELETE", "/secrets/s"), ("GET", "/api-keys"), ("POST", "/api-keys"), ("DELETE", "/api-keys/k"), ("PATCH", "/api-keys/k"),
    ("POST", "/access-tokens"), ("DELETE", "/access-tokens/a"), ("GET", "/teams/t/metrics"), ("GET", "/teams/t/metrics/max"),
    ("GET", "/templates/base/tags/count"), ("GET", "/templates/base/tags/t/assignments"), ("GET", "/templates/base/exists"),
    ("GET", "/templates/base/groups"), ("GET", "/default-templates"), ("GET", "/nodes"), ("GET", "/nodes/n"), ("POST", "/nodes/n"), ("POST", "/admin/x"),
]


@pytest.mark.parametrize("method, path", MISSING)
def test_what_is_not_served(control, method, path):
    reply = control.request(method, path.format("i" + "0" * 20), json={"name": "x"})
    body = refused(reply, 501)
    assert reply.headers["Should-Retry"] == "false" and "\n" not in body["message"] and len(body["message"]) < 100


@pytest.mark.parametrize("path", ["/", "/nobody", "/sandboxes/x/y/z", "/v9/sandboxes", "/sandboxesx", "/ui2", "/v2/", "/instancesx"])
def test_unknown_paths(control, path):
    refused(control.get(path), 404)


@pytest.mark.parametrize("path", ["/instances", "/instances/i0/refreshes", "/envs", "/envs/x"])
def test_old_paths(control, path):
    refused(control.get(path), 400, "deprecated")


def test_methods_that_a_path_does_not_take(control):
    for method, path in (("PUT", "/sandboxes"), ("PATCH", "/v2/sandboxes"), ("GET", "/sandboxes/x/connect"), ("POST", "/teams")):
        reply = control.request(method, path)
        refused(reply, 405)
        assert reply.headers["Allow"]


def test_head_is_get_without_a_body(control):
    reply = control.request("HEAD", "/v2/sandboxes")
    assert reply.status_code == 200 and reply.content == b"" and int(reply.headers["Content-Length"]) > 0


def test_native_paths_stay_native(control):
    assert control.get("/healthz").status_code == 200 and control.get("/version").status_code == 200
    reply = control.get("/api/nobody")
    assert reply.status_code == 404 and reply.headers["Content-Type"] == "application/problem+json"


# --- keys

def make_key(daemon):
    status, body = daemon.unix_request("POST", "/api/keys", {"name": "test"})
    assert status == 201
    return body["id"], body["key"] if "key" in body else body["secret"]


def test_field_report_16_keys(make_daemon):
    daemon = make_daemon("--require-keys")
    control = Control(daemon)
    id, key = make_key(daemon)
    wrong = "e2b_" + "0" * 40
    planted = ["e2b_" + "1" * 10000, key + "x", "not-a-key", "e2b_", "e2b_XYZ", wrong]
    for method, path in (("GET", "/v2/sandboxes"), ("POST", "/v2/sandboxes"), ("GET", "/teams"), ("DELETE", "/sandboxes/x"), ("GET", "/nobody"),
                         ("POST", "/v3/templates")):
        reply = control.request(method, path)
        refused(reply, 401)
        for bad in planted:
            body = refused(control.request(method, path, headers={"X-API-KEY": bad}), 401)
            assert bad not in json.dumps(body)
            refused(control.request(method, path, headers={"Authorization": f"Bearer {bad}"}), 401)
        refused(control.request(method, path, headers={"X-API-KEY": ""}), 401)
    assert "format" in refused(control.get("/teams", headers={"X-API-KEY": "not-a-key"}), 401)["message"]
    assert "Invalid API key" in refused(control.get("/teams", headers={"X-API-KEY": wrong}), 401)["message"]
    for header in ({"X-API-KEY": key}, {"Authorization": f"Bearer {key}"}, {"Authorization": f"bearer {key}"}):
        assert control.get("/v2/sandboxes", headers=header).status_code == 200
        made = control.post("/v2/sandboxes", {"templateID": "base"}, headers=header)
        assert made.status_code == 201
        assert control.delete(f"/sandboxes/{made.json()['sandboxID']}", headers=header).status_code == 204
    assert control.get("/teams", headers={"X-API-KEY": key}).json()[0]["apiKey"] == key
    assert control.get("/health").status_code == 204
    assert daemon.unix_request("DELETE", f"/api/keys/{id}")[0] == 204
    refused(control.get("/v2/sandboxes", headers={"X-API-KEY": key}), 401)
    log = daemon.log()
    assert not [k for k in planted + [key] if len(k) > 12 and k in log]


def test_without_keys_any_will_do(control):
    for header in ({}, {"X-API-KEY": "anything"}, {"X-API-KEY": ""}, {"Authorization": "Bearer x"}):
        assert control.get("/v2/sandboxes", headers=header).status_code == 200


def test_the_runtime_token_guards_changes(make_daemon):
    daemon = make_daemon(env={"RUNTIME_API_TOKEN": "planted-token"})
    control = Control(daemon)
    assert control.get("/v2/sandboxes").status_code == 200
    refused(control.try_create(), 401)
    refused(control.try_create(headers={"X-API-KEY": "e2b_" + "0" * 40}), 401)
    made = control.try_create(headers={"X-API-KEY": "planted-token"})
    assert made.status_code == 201
    refused(control.delete(f"/sandboxes/{made.json()['sandboxID']}"), 401)
    assert control.delete(f"/sandboxes/{made.json()['sandboxID']}", headers={"Authorization": "Bearer planted-token"}).status_code == 204
    assert "planted-token" not in daemon.log()


# --- browsers

def test_pages_of_other_origins_change_nothing(control):
    for origin in ("http://evil.example", "http://5173-x.localhost", "null"):
        refused(control.try_create(headers={"Origin": origin}), 403)
    own = control.try_create(headers={"Origin": control.daemon.url})
    assert own.status_code == 201
    refused(control.get("/v2/sandboxes", headers={"Host": "evil.example"}), 403)
    assert "Access-Control-Allow-Origin" not in control.get("/v2/sandboxes", headers={"Origin": "http://evil.example"}).headers


def test_cors_with_keys(make_daemon):
    daemon = make_daemon("--require-keys")
    control = Control(daemon)
    _, key = make_key(daemon)
    origin = {"Origin": "http://app.example"}
    pre = control.request("OPTIONS", "/v2/sandboxes", headers={**origin, "Access-Control-Request-Method": "POST"})
    assert pre.status_code == 204 and pre.headers["Access-Control-Allow-Origin"] == "*"
    assert "*" in pre.headers["Access-Control-Allow-Headers"] and "POST" in pre.headers["Access-Control-Allow-Methods"]
    made = control.post("/v2/sandboxes", {"templateID": "base"}, headers={**origin, "X-API-KEY": key})
    assert made.status_code == 201 and made.headers["Access-Control-Allow-Origin"] == "*"
    listed = control.get("/v2/sandboxes", headers={**origin, "X-API-KEY": key})
    assert "X-Next-Token" in listed.headers["Access-Control-Expose-Headers"]
    assert control.delete(f"/sandboxes/{made.json()['sandboxID']}", headers={"X-API-KEY": key}).status_code == 204
    refused(control.request("OPTIONS", "/v2/sandboxes"), 405)
