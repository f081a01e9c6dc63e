"""Clients that know only E2B_DOMAIN: HTTPS on port 443, `https://api.<domain>` for the control plane and `https://<port>-<id>.<domain>` for
what runs in a sandbox. Names come from a DNS server, trust from the authority that `sandmux tls init` made."""
import json
import subprocess
import time

import pytest

from conftest import BUILD, PATIENCE_S
from domain import domain, untouched_env  # noqa: F401 (a fixture)

SERVER = """
import asyncio, hashlib, base64
async def serve(reader, writer):
    head = (await reader.readuntil(b"\\r\\n\\r\\n")).decode()
    key = [l.split(": ")[1] for l in head.split("\\r\\n") if l.lower().startswith("sec-websocket-key")]
    if key:
        accept = base64.b64encode(hashlib.sha1((key[0] + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11").encode()).digest()).decode()
        writer.write(f"HTTP/1.1 101 Switching Protocols\\r\\nUpgrade: websocket\\r\\nConnection: Upgrade\\r\\nSec-WebSocket-Accept: {accept}\\r\\n\\r\\n".encode())
        frame = await reader.readexactly(2)
        mask = await reader.readexactly(4)
        data = bytes(b ^ mask[i % 4] for i, b in enumerate(await reader.readexactly(frame[1] & 127)))
        writer.write(bytes([0x81, len(data)]) + data.upper())
    else:
        host = [l.split(": ")[1] for l in head.split("\\r\\n") if l.lower().startswith("host")][0]
        body = f"hello {host}".encode()
        writer.write(b"HTTP/1.1 200 OK\\r\\nContent-Length: %d\\r\\nConnection: close\\r\\n\\r\\n%s" % (len(body), body))
    await writer.drain()
    writer.close()
async def main():
    await (await asyncio.start_server(serve, "127.0.0.1", 3000)).serve_forever()
asyncio.run(main())
"""

WEBSOCKET = """
import asyncio, ssl, sys, websockets
async def main():
    async with websockets.connect(sys.argv[1], ssl=ssl.create_default_context(cafile=sys.argv[2])) as ws:
        await ws.send("over tls")
        print(await ws.recv())
asyncio.run(main())
"""


@pytest.fixture(scope="module")
def box(domain):  # noqa: F811
    """A sandbox whose port 3000 answers HTTP and WebSocket."""
    made = domain.create()
    domain.exec(made, f"cat >/tmp/server.py <<'END'\n{SERVER}\nEND\nsetsid python3 /tmp/server.py >/dev/null 2>&1 </dev/null &")
    for _ in range(500):
        if domain.exec(made, "python3 -c 'import socket; socket.create_connection((\"127.0.0.1\", 3000))'")["exit_code"] == 0:
            break
        time.sleep(0.05)
    return made


def test_the_control_plane_answers_by_name(domain, box):  # noqa: F811
    env = domain.env()
    assert env["E2B_DOMAIN"] == domain.name and "E2B_API_URL" not in env
    out = domain.run("curl", "-sS", "-H", f"X-API-KEY: {env['E2B_API_KEY']}", f"https://api.{env['E2B_DOMAIN']}/v2/sandboxes", env=env)
    assert out.returncode == 0, out.stderr
    assert [s["sandboxID"] for s in json.loads(out.stdout)] == [box]


def test_a_port_answers_by_name(domain, box):  # noqa: F811
    out = domain.curl(f"https://3000-{box}.{domain.name}/")
    assert out.stdout == f"hello 3000-{box}.{domain.name}\n200", out.stderr


def test_envd_answers_by_name(domain, box):  # noqa: F811
    out = domain.curl(f"https://49983-{box}.{domain.name}/health")
    assert out.stdout == "\n204", out.stderr


def test_a_websocket_goes_through(domain, box):  # noqa: F811
    out = domain.run("/usr/bin/python3", "-c", WEBSOCKET, f"wss://3000-{box}.{domain.name}/", domain.ca)
    assert out.stdout == "OVER TLS\n", out.stderr


def test_a_large_body_comes_whole_both_ways(domain, box):  # noqa: F811
    data = bytes(range(256)) * 4096 * 8
    (domain.dir / "data").write_bytes(data)
    base = f"https://api.{domain.name}/api/sandboxes/{box}/files/content?path=/workspace/data"
    assert domain.curl("-T", domain.dir / "data", base).stdout.endswith("\n201")
    out = domain.curl("-o", domain.dir / "back", base)
    assert out.stdout == "\n200", out.stderr
    assert (domain.dir / "back").read_bytes() == data


def test_another_authority_is_refused(domain, box):  # noqa: F811
    other = domain.dir / "other"
    subprocess.run([BUILD / "sandmux", "tls", "init", "--dir", other, "--domain", domain.name], check=True, capture_output=True, env=untouched_env(),
                   timeout=PATIENCE_S)
    for trust in (False, other / "ca.pem"):
        out = domain.curl(f"https://api.{domain.name}/version", trust=trust)
        assert out.returncode == 60, out.stderr  # curl: the peer's certificate cannot be authenticated


def test_a_name_of_two_labels_is_not_covered(domain, box):  # noqa: F811
    out = domain.curl(f"https://a.b.{domain.name}/version")
    assert out.returncode == 60, out.stderr


def test_preview_urls_are_https_for_who_came_by_https(domain, box):  # noqa: F811
    out = domain.curl(f"https://api.{domain.name}/api/sandboxes/{box}/preview?port=3000")
    url = json.loads(out.stdout.rpartition("\n")[0])["url"]
    assert url == f"https://3000-{box}.{domain.name}"
    assert domain.curl(url).stdout.endswith("\n200")


def test_a_page_of_a_sandbox_is_a_foreign_origin_over_https_too(domain, box):  # noqa: F811
    def post(origin):
        out = domain.curl("-X", "POST", "-d", "{}", "-H", "Content-Type: application/json", "-H", f"Origin: {origin}",
                          f"https://api.{domain.name}/api/sandboxes")
        return int(out.stdout.rpartition("\n")[2])
    assert post(f"https://3000-{box}.{domain.name}") == 403
    assert post(f"http://api.{domain.name}") == 403
    assert post(f"https://api.{domain.name}") == 201


def test_the_variables_count_as_ourselves(domain, box):  # noqa: F811
    """A daemon that is started with what `sandmux env` printed for its own address does not take itself for E2B."""
    env = domain.env()
    flags = ["--listen", "127.0.0.1:0", "--tls-listen", "127.0.0.1:443", "--domain", domain.name, "--tls-cert", str(domain.tls / "cert.pem"),
             "--tls-key", str(domain.tls / "key.pem")]
    domain.delete_all()
    domain.daemon.stop()
    before = domain.daemon.flags, domain.daemon.env
    try:
        domain.daemon.flags, domain.daemon.env = flags, {k: env[k] for k in ("E2B_DOMAIN", "E2B_API_KEY")}
        domain.daemon.start()
        _, status = domain.daemon.unix_request("GET", "/api/runtime/status")
        assert status["current_runtime"] == "local"
        domain.daemon.stop()
        domain.daemon.env["E2B_DOMAIN"] = "e2b.example"
        domain.daemon.start()
        _, status = domain.daemon.unix_request("GET", "/api/runtime/status")
        assert status["current_runtime"] == "daytona"
    finally:
        domain.daemon.stop(expect=None)
        domain.daemon.flags, domain.daemon.env = before
        domain.daemon.start()
