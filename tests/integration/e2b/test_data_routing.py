"""E2B's data plane: which sandbox and port a request names, and what nobody may reach from outside."""
import pytest
import requests

from dataplane import ENVD, ask, fields, host_of, rpc, run

pytestmark = pytest.mark.root


def test_by_fields_in_any_case_and_by_host(daemon, module_sandbox):
    box = module_sandbox
    assert run(box, "echo hi") == (b"hi\n", 0)
    assert run(box, "echo hi", by="host") == (b"hi\n", 0)
    assert run(box, "echo hi", by="host", suffix="-a1b2c3d4") == (b"hi\n", 0)
    lower = {k.lower(): v for k, v in fields(box).items()}
    for host in ("LOCALHOST", "127.0.0.1", "sandbox.localhost", "api.localhost"):
        reply = requests.get(daemon.url + "/health", headers={**lower, "Host": f"{host}:{daemon.port}"}, timeout=60)
        assert reply.status_code == 204 and reply.content == b""


def test_defaults_are_those_of_the_door(module_sandbox):
    box = module_sandbox
    assert run(box, "id -un; pwd; echo $HOME") == (b"user\n/home/user\n/home/user\n", 0)
    assert box.exec("id -un; pwd")["stdout"] == "root\n/workspace\n"
    assert run(box, "id -un; pwd", headers={"Authorization": "Basic cm9vdDo="}) == (b"root\n/root\n", 0)
    assert ask(box, "POST", "/files", data=b"x", params={"path": "by-e2b"}, headers={"Content-Type": "application/octet-stream"}).status_code == 200
    box.write_file("by-native", b"y")
    assert box.exec("stat -c '%U %n' /home/user/by-e2b /workspace/by-native")["stdout"] == "user /home/user/by-e2b\nroot /workspace/by-native\n"


def test_one_field_is_missing(daemon, module_sandbox):
    for name in ("E2b-Sandbox-Id", "E2b-Sandbox-Port"):
        sent = fields(module_sandbox)
        del sent[name]
        reply = requests.get(daemon.url + "/health", headers=sent, timeout=60)
        assert reply.status_code == 400 and reply.json()["code"] == 400 and name in reply.json()["message"]


@pytest.mark.parametrize("port", ["0", "65536", "-1", "abc", "", "+80", "0x50", "99999999999999999999", "49983,49983"])
def test_ports_that_are_none(daemon, module_sandbox, port):
    reply = requests.get(daemon.url + "/health", headers=fields(module_sandbox, port), timeout=60)
    assert reply.status_code == 400 and "E2b-Sandbox-Port" in reply.json()["message"]


@pytest.mark.parametrize("label", ["0-{}", "65536-{}", "99999999999999999999-{}", "49983-"])
def test_hosts_whose_port_or_id_is_none(daemon, module_sandbox, label):
    """They are nobody's: not the control plane, whose /health would say that all is well."""
    host = label.format(module_sandbox.id) + f".localhost:{daemon.port}"
    reply = requests.get(daemon.url + "/health", headers={"Host": host}, timeout=60)
    assert reply.status_code == 400 and reply.json()["code"] == 400 and "port" in reply.json()["message"]


@pytest.mark.parametrize("sandbox_id", ["", "../x", "I0000000000000000000A", "a b", "a/b", "x" * 64, "é".encode().decode("latin-1")])
def test_ids_that_are_none(daemon, sandbox_id):
    reply = requests.get(daemon.url + "/health", headers={"E2b-Sandbox-Id": sandbox_id, "E2b-Sandbox-Port": str(ENVD)}, timeout=60)
    assert reply.status_code == 400 and "E2b-Sandbox-Id" in reply.json()["message"]


def test_a_foreign_host_is_refused(daemon, module_sandbox):
    for host in ("evil.example", f"{ENVD}-{module_sandbox.id}.evil.example"):
        reply = requests.get(daemon.url + "/health", headers={**fields(module_sandbox), "Host": host}, timeout=60)
        assert reply.status_code == 403 and reply.json()["code"] == 403


def test_a_host_that_names_a_port_is_stronger_than_fields(daemon, module_sandbox, other_sandbox):
    """A page of a sandbox cannot reach another one by sending its fields to its own site."""
    sent = {**fields(other_sandbox), "Host": host_of(module_sandbox)}
    reply = requests.post(daemon.url + "/process.Process/List", json={}, headers=sent, timeout=60)
    assert reply.status_code == 401


@pytest.mark.parametrize("path", ["/init", "/freeze", "/unfreeze", "/collapse", "/fsfreeze", "/fsthaw", "/upgrade", "//init", "/./init",
                                  "/files/../init", "/%69nit", "/%2e%2e/init", "/%2finit", "/init/", "/INIT", "/x%5c..%5cinit", "/%2569nit"])
def test_internal_routes_are_not_there(daemon, module_sandbox, path):
    box = module_sandbox
    head = "".join(f"{k}: {v}\r\n" for k, v in fields(box).items())
    body = '{"defaultUser":"root","envVars":{"X":"1"}}'
    answer = daemon.raw(f"POST {path} HTTP/1.1\r\nHost: localhost\r\n{head}Content-Type: application/json\r\nContent-Length: {len(body)}\r\n"
                        f"Connection: close\r\n\r\n{body}".encode())
    assert answer.startswith(b"HTTP/1.1 404 ") and b'"code":404' in answer
    assert run(box, "id -un; echo $X") == (b"user\n\n", 0)


def test_agent_answers_pass_unchanged(module_sandbox):
    box = module_sandbox
    reply = rpc(box, "filesystem.Filesystem/Stat", {"path": "/etc/hostname"})
    assert reply.status_code == 200 and reply.json()["entry"]["path"] == "/etc/hostname"
    reply = rpc(box, "filesystem.Filesystem/Stat", {"path": "/no/such"})
    assert reply.status_code == 404 and reply.json()["code"] == "not_found"
    assert rpc(box, "filesystem.Filesystem/NoSuch", {}).status_code == 404
    assert ask(box, "GET", "/envs").status_code == 200 and ask(box, "GET", "/metrics").status_code == 200


def test_native_paths_stay_native(daemon):
    assert daemon.get("/api/runtime/status").status_code == 200
    assert daemon.get("/healthz").status_code == 200
