"""Who may call: keys, the runtime token, Host, Origin, the unix socket."""
import os
import subprocess
import sys

import pytest
import requests

from conftest import BUILD, clean_env

pytestmark = pytest.mark.root


def test_any_key_or_none_on_loopback(daemon):
    assert daemon.get("/api/sandboxes").status_code == 200
    assert daemon.get("/api/sandboxes", headers={"X-API-KEY": "whatever"}).status_code == 200


@pytest.mark.parametrize("host,status", [("localhost", 200), ("127.0.0.1", 200), ("[::1]:80", 200), ("a.localhost", 200),
                                         ("evil.example", 403), ("127.0.0.1.evil.example", 403), ("192.0.2.1", 403)])
def test_dns_rebinding(daemon, host, status):
    assert daemon.get("/api/sandboxes", headers={"Host": host}).status_code == status


def test_pages_of_other_origins_change_nothing(daemon, sandbox):
    own = f"http://localhost:{daemon.port}"
    foreign = [f"http://localhost:{daemon.port + 1}", f"https://localhost:{daemon.port}", "null", "http://evil.example",
               f"http://5173-{sandbox.id}.localhost:{daemon.port}"]
    url = f"http://localhost:{daemon.port}{sandbox.path}/exec"
    assert requests.post(url, json={"command": "true"}, headers={"Origin": own}).status_code == 200
    for origin in foreign:
        reply = requests.post(url, json={"command": "true"}, headers={"Origin": origin})
        assert (reply.status_code, reply.json()["code"]) == (403, "forbidden"), origin
        reply = requests.get(url, headers={"Origin": origin, "Upgrade": "websocket", "Connection": "Upgrade",
                                           "Sec-WebSocket-Version": "13", "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ=="})
        assert reply.status_code == 403, origin
        assert "Access-Control-Allow-Origin" not in reply.headers


def test_field_report_16_required_keys(make_daemon):
    d = make_daemon("--require-keys")
    for headers in ({}, {"X-API-KEY": ""}, {"X-API-KEY": "e2b_" + "0" * 40}, {"X-API-KEY": "x" * 10000}, {"Authorization": "Bearer "}):
        reply = d.get("/api/sandboxes", headers=headers)
        assert (reply.status_code, reply.json()["code"]) == (401, "unauthorized"), headers
    assert d.get("/healthz").status_code == 200
    status, key = d.unix_request("POST", "/api/keys", {"name": "ci"})
    assert status == 201
    good = {"Authorization": f"Bearer {key['key']}"}
    assert d.get("/api/sandboxes", headers=good).status_code == 200
    assert d.get("/api/sandboxes", headers={"X-API-KEY": key["key"] + "x"}).status_code == 401
    listed = d.get("/api/keys", headers=good).json()["items"]
    assert [k["name"] for k in listed] == ["ci"] and "key" not in listed[0]
    assert d.delete(f"/api/keys/{key['id']}", headers=good).status_code == 204
    assert d.get("/api/sandboxes", headers=good).status_code == 401
    assert key["key"] not in d.log()


def test_pages_may_call_with_a_key_where_keys_are_required(make_daemon):
    d = make_daemon("--require-keys")
    _, key = d.unix_request("POST", "/api/keys", {"name": "page"})
    preflight = d.request("OPTIONS", "/api/sandboxes", headers={"Origin": "http://app.example", "Access-Control-Request-Method": "POST"})
    assert preflight.status_code == 204 and preflight.headers["Access-Control-Allow-Origin"] == "*"
    headers = {"Origin": "http://app.example", "X-API-KEY": key["key"]}
    reply = d.post("/api/runtime/switch", json={"runtime": "nope"}, headers=headers)
    assert reply.status_code == 400 and reply.headers["Access-Control-Allow-Origin"] == "*"


def test_runtime_token_guards_changes(make_daemon):
    d = make_daemon(env={"RUNTIME_API_TOKEN": "planted-token-99"})
    body = {"runtime": "nope"}
    assert d.get("/api/runtime/status").status_code == 200
    assert d.post("/api/runtime/switch", json=body).status_code == 401
    assert d.post("/api/runtime/switch", json=body, headers={"Authorization": "Bearer planted-token-9"}).status_code == 401
    assert d.post("/api/runtime/switch", json=body, headers={"Authorization": "Bearer planted-token-99"}).status_code == 400
    assert d.unix_request("POST", "/api/runtime/switch", body)[0] == 400
    assert "planted-token" not in d.log() + d.get("/api/runtime/status").text + d.get("/metrics").text


def test_the_socket_is_for_root_and_the_daemons_user(daemon):
    assert daemon.unix_request("GET", "/api/sandboxes")[0] == 200
    code = f"import socket; s = socket.socket(socket.AF_UNIX); s.connect({str(daemon.socket)!r})"
    other = subprocess.run([sys.executable, "-c", code], user=65534, group=65534, extra_groups=[], capture_output=True, text=True)
    assert other.returncode != 0 and "PermissionError" in other.stderr


@pytest.mark.parametrize("listen", ["0.0.0.0:0", "[::]:0"])
def test_beyond_loopback_only_with_keys(make_daemon, listen):
    d = make_daemon("--listen", listen, start=False)
    assert d.spawn().wait(30) == 1
    assert "--require-keys" in d.log() and "not a loopback address" in d.log()
    make_daemon("--listen", listen, "--require-keys")


def test_secrets_of_the_environment_appear_nowhere(make_daemon):
    d = make_daemon("--log-level", "debug", env={"E2B_API_KEY": "planted-e2b-1", "DAYTONA_API_KEY": "planted-day-2", "SANDBOX_RUNTIME": "local"})
    texts = [d.get(path).text for path in ("/api/runtime/status", "/api/runtime/validate/e2b?live=1", "/api/runtime/health?runtime=daytona",
                                            "/metrics", "/version", "/readyz?verbose", "/api/keys")]
    texts += [d.post("/api/runtime/switch", json={"runtime": "daytona"}).text, d.post("/api/sandboxes", json={"runtime": "e2b"}).text]
    for pid in (d.process.pid, d.pid_of("sandmux-gateway"), d.pid_of("sandmux-engine")):
        texts.append(open(f"/proc/{pid}/cmdline").read())
    texts.append(open(f"/proc/{d.pid_of('sandmux-engine')}/environ").read())
    shown = subprocess.run([BUILD / "sandmux", "config", "show"], capture_output=True, text=True, env=clean_env(E2B_API_KEY="planted-e2b-1"))
    texts += [shown.stdout, shown.stderr, d.log()]
    assert not [t for t in texts if "planted-" in t]
