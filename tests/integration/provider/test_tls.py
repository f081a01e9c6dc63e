"""The way to the real cloud: only a domain and a key, everything by name and over TLS that is verified."""
import pathlib
import subprocess

import pytest

from clouds import KEY
from conftest import BUILD, PATIENCE_S, Daemon, clean_env, until

pytestmark = pytest.mark.root

DOMAIN = "cloud.localhost"  # curl resolves names below localhost by itself


@pytest.fixture(scope="module")
def secure(tmp_path_factory):
    """Speaks TLS for the names below DOMAIN."""
    folder = tmp_path_factory.mktemp("tls")
    subprocess.run([BUILD / "sandmux", "tls", "init", "--dir", folder, "--domain", DOMAIN], check=True, env=clean_env(), capture_output=True,
                   timeout=PATIENCE_S)
    d = Daemon(["--tls-listen", "127.0.0.1:0", "--domain", DOMAIN, "--tls-cert", str(folder / "cert.pem"), "--tls-key", str(folder / "key.pem")])
    d.start()
    d.authority = folder / "ca.pem"
    for path in [d.authority, *d.authority.parents]:
        if path != pathlib.Path("/tmp") and "/tmp/" in str(path):
            path.chmod(path.stat().st_mode | (0o555 if path.is_dir() else 0o444))  # the gateway reads it without privilege
    d.secure_domain = f"{DOMAIN}:{d.unix_request('GET', '/version')[1]['tls_port']}"
    yield d
    d.close()


def test_everything_over_tls(secure, make_daemon):
    d = make_daemon(env={"E2B_API_KEY": KEY, "E2B_DOMAIN": secure.secure_domain, "SANDMUX_CA_FILE": str(secure.authority), "SANDBOX_RUNTIME": "e2b"})
    live = d.get("/api/runtime/validate/e2b?live=1").json()["live"]
    assert live["ok"], live
    box = d.create(env={"A": "b"})
    for _ in range(3):
        assert box.exec("echo $A; id -un")["stdout"] == "b\nroot\n"
    data = bytes(range(256)) * 20000
    box.write_file("big", data)
    assert box.read_file("big") == data
    reply = d.open_stream(f"{box.path}/exec", {"command": "echo now; sleep 1000"})
    lines = reply.iter_lines(chunk_size=1)
    while b"now" not in next(lines):
        pass
    reply.close()
    box.exec("mkdir -p /srv; echo served > /srv/x; cd /srv; (python3 -m http.server 8200 >/dev/null 2>&1 &)")
    until(lambda: d.get("/x", headers={"Host": f"8200-{box.id}.localhost:{d.port}"}).text == "served\n", 30)
    assert d.post(f"{box.path}/pause").status_code == 200 and d.post(f"{box.path}/resume").status_code == 200
    assert box.exec("echo on")["stdout"] == "on\n"
    box.delete()
    d.stop()


def test_an_authority_that_is_not_trusted(secure, make_daemon):
    d = make_daemon(env={"E2B_API_KEY": KEY, "E2B_DOMAIN": secure.secure_domain, "SANDBOX_RUNTIME": "e2b"})
    live = d.get("/api/runtime/validate/e2b?live=1").json()["live"]
    assert (live["ok"], live["error_code"]) == (False, "provider_unavailable") and "certificate" in live["detail"]
    d.stop()


def test_a_certificate_of_another_name(secure, make_daemon):
    port = secure.secure_domain.rpartition(":")[2]
    d = make_daemon(env={"E2B_API_KEY": KEY, "E2B_API_URL": f"https://other.localhost:{port}", "SANDMUX_CA_FILE": str(secure.authority),
                         "SANDBOX_RUNTIME": "e2b"})
    live = d.get("/api/runtime/validate/e2b?live=1").json()["live"]
    assert (live["ok"], live["error_code"]) == (False, "provider_unavailable") and "other.localhost" in live["detail"]
    d.stop()
