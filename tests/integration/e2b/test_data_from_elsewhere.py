"""Callers who are not on this host: a network namespace in which the daemon has an address beside loopback."""
import json
import subprocess

import pytest

from conftest import PATIENCE_S, Daemon, until
from dataplane import signature

pytestmark = pytest.mark.root
ADDRESS, DOMAIN = "192.0.2.1", "box.example"


class Elsewhere:
    """The daemon in its namespace, and curl beside it."""

    def __init__(self):
        self.holder = subprocess.Popen(["unshare", "--net", "sh", "-c", f"ip link set lo up && ip addr add {ADDRESS}/32 dev lo && exec sleep 3600"])
        self.enter = ["nsenter", "--target", str(self.holder.pid), "--net"]
        until(lambda: ADDRESS in subprocess.run([*self.enter, "ip", "addr"], capture_output=True, text=True).stdout)
        self.daemon = Daemon(["--listen", f"{ADDRESS}:8000", "--require-keys", "--domain", DOMAIN])
        self.daemon.wrapper = self.enter
        self.daemon.start()
        _, key = self.daemon.unix_request("POST", "/api/keys", {"name": "elsewhere"})
        self.key = key["key"]

    def curl(self, path, *args, host=f"{ADDRESS}:8000", **fields):
        """Status and body."""
        more = [a for k, v in fields.items() for a in ("-H", f"{k.replace('_', '-')}: {v}")]
        out = subprocess.run([*self.enter, "curl", "-sS", "--noproxy", "*", "--max-time", "30", "-w", "\n%{http_code}", "-H", f"Host: {host}", *more, *args,
                              f"http://{ADDRESS}:8000{path}"], capture_output=True, text=True, timeout=PATIENCE_S)
        body, _, status = out.stdout.rpartition("\n")
        assert out.returncode == 0, out.stderr
        return int(status), body

    def serve(self, sandbox_id):
        path = f"/api/sandboxes/{sandbox_id}/exec"
        self.daemon.unix_request("POST", path, {"command": "mkdir -p /tmp/w; cd /tmp/w; echo page >index.html; python3 -m http.server 8000 >/dev/null 2>&1 &"})
        wait = {"command": "python3 -c 'import socket; socket.create_connection((\"127.0.0.1\", 8000))'"}
        until(lambda: self.daemon.unix_request("POST", path, wait)[1]["exit_code"] == 0)

    def close(self):
        try:
            for item in self.daemon.unix_request("GET", "/api/sandboxes?limit=1000")[1]["items"]:
                self.daemon.unix_request("DELETE", f"/api/sandboxes/{item['id']}")
            self.daemon.stop()
        finally:
            self.daemon.kill_all()
            self.holder.kill()
            self.holder.wait()
            subprocess.run(["rm", "-rf", "--one-file-system", str(self.daemon.dir)], check=False)


@pytest.fixture(scope="module")
def elsewhere():
    e = Elsewhere()
    yield e
    e.close()


@pytest.fixture(scope="module")
def native(elsewhere):
    """id and token of a sandbox of the native API, with a server on port 8000."""
    status, made = elsewhere.daemon.unix_request("POST", "/api/sandboxes", {})
    assert status == 201
    elsewhere.serve(made["id"])
    return made["id"], elsewhere.daemon.unix_request("GET", f"/api/sandboxes/{made['id']}/preview?port=1")[1]["token"]


def test_a_port_needs_the_token(elsewhere, native):
    box, token = native
    host = f"8000-{box}.{DOMAIN}"
    for fields in ({}, {"X_Sandmux_Token": "x"}, {"X_API_KEY": elsewhere.key}):
        assert elsewhere.curl("/", host=host, **fields)[0] == 401
    for fields in ({"X_Sandmux_Token": token}, {"X_Access_Token": token}, {"Cookie": f"a=b; sandmux_token={token}"}):
        assert elsewhere.curl("/", host=host, **fields) == (200, "page\n")
    for query, location in (("", "/x"), ("a=1&", "/x?a=1"), ("a=1&b=%2F&", "/x?a=1&b=%2F")):
        status, head = elsewhere.curl(f"/x?{query}sandmux_token={token}", "-i", host=host)
        assert status == 302 and f"Set-Cookie: sandmux_token={token}; Path=/; HttpOnly; SameSite=Lax" in head and f"Location: {location}\n" in head
    assert elsewhere.curl(f"/?sandmux_token={token}", "-X", "POST", "-d", "x", host=host)[0] == 501  # it is the app that does not know POST
    assert "Location: /\n" in elsewhere.curl(f"//evil.example?sandmux_token={token}", "-i", host=host)[1]
    assert elsewhere.curl("/?sandmux_token=x", host=host)[0] == 401
    routed = {"E2b_Sandbox_Id": box, "E2b_Sandbox_Port": "8000"}
    assert elsewhere.curl("/", **routed)[0] == 401
    assert elsewhere.curl("/", **routed, X_Access_Token=token) == (200, "page\n")


def test_envd_needs_the_token_and_no_key(elsewhere, native):
    box, token = native
    stat = ("-X", "POST", "-H", "Content-Type: application/json", "-d", '{"path": "/etc/hostname"}')
    for host, fields in ((f"{ADDRESS}:8000", {"E2b_Sandbox_Id": box, "E2b_Sandbox_Port": "49983"}), (f"sandbox.{DOMAIN}", {"E2b_Sandbox_Id": box, "E2b_Sandbox_Port": "49983"}),
                         (f"49983-{box}.{DOMAIN}", {}), (f"49983-{box}-deadbeef.{DOMAIN}:8000", {})):
        assert elsewhere.curl("/filesystem.Filesystem/Stat", *stat, host=host, **fields)[0] == 401
        assert elsewhere.curl("/filesystem.Filesystem/Stat", *stat, host=host, X_API_KEY=elsewhere.key, **fields)[0] == 401
        status, body = elsewhere.curl("/filesystem.Filesystem/Stat", *stat, host=host, X_Access_Token=token, **fields)
        assert status == 200 and json.loads(body)["entry"]["path"] == "/etc/hostname"
    signed = signature(token, "/etc/hostname").replace("+", "%2B").replace("/", "%2F")
    assert elsewhere.curl(f"/files?path=/etc/hostname&signature={signed}", host=f"{ADDRESS}:8000")[0] == 200
    assert elsewhere.curl(f"/files?path=/etc/passwd&signature={signed}", host=f"{ADDRESS}:8000")[0] == 401
    assert elsewhere.curl("/health", host="evil.example", E2b_Sandbox_Id=box, E2b_Sandbox_Port="49983", X_Access_Token=token)[0] == 403


def test_ports_of_e2bs_sandboxes_are_public_unless_private(elsewhere):
    def make(**body):
        status, text = elsewhere.curl("/v2/sandboxes", "-X", "POST", "-H", "Content-Type: application/json", "-d", json.dumps({"templateID": "base", **body}),
                                      X_API_KEY=elsewhere.key)
        assert status == 201, text
        elsewhere.serve(json.loads(text)["sandboxID"])
        return json.loads(text)
    public, private = make(), make(network={"allowPublicTraffic": False})
    assert elsewhere.curl("/", host=f"8000-{public['sandboxID']}.{DOMAIN}") == (200, "page\n")
    host = f"8000-{private['sandboxID']}.{DOMAIN}"
    assert elsewhere.curl("/", host=host)[0] == 403
    assert elsewhere.curl("/", host=host, e2b_traffic_access_token=private["trafficAccessToken"]) == (200, "page\n")
    assert elsewhere.curl("/", host=f"49983-{public['sandboxID']}.{DOMAIN}")[0] == 401
