"""Ports of a sandbox from outside, and what the sandbox may reach."""
import asyncio
import json
import os
import pathlib
import urllib.parse

from context import Absent, check, equal, sha256

SERVER = (pathlib.Path(__file__).parent.parent / "port_server.py").read_text()
CASES = {}


def case(name):
    return lambda fn: CASES.setdefault(name, fn)


async def serve(c, sbx, port):
    """The server of port_server.py on a port of the sandbox."""
    await c(sbx.files.write("/home/user/port_server.py", SERVER))
    await c(sbx.commands.run(f"python3 /home/user/port_server.py {port}", background=True, timeout=0))
    return c.port(sbx, port)


async def answers(c, base, headers):
    async def once():
        status, body = await c.in_thread(c.request, f"{base}/hello?x=1", "GET", headers)
        return status != 502 and (status, body)
    return await c.until(once, "the server in the sandbox")


@case("getHost: HTTP")
async def _(c):
    sbx = await c.shared()
    base, headers = await serve(c, sbx, 8000)
    check(sbx.get_host(8000).startswith(f"8000-{sbx.sandbox_id}."), sbx.get_host(8000))
    equal(await answers(c, base, headers), (200, b"GET /hello?x=1"), "answer")
    body = os.urandom(1_000_000)
    _, got = await c.in_thread(c.request, f"{base}/sum", "POST", headers, body)
    equal(got.decode(), sha256(body), "checksum of what it was sent")
    if os.environ.get("E2B_SANDBOX_URL"):
        routed = {"E2b-Sandbox-Id": sbx.sandbox_id, "E2b-Sandbox-Port": "8000"}
        equal((await c.in_thread(c.request, f"{base}/routed", "GET", routed))[1], b"GET /routed", "by routing headers")


async def talk(base, headers, ca_file):
    """Two echoes; returns them and the code of the close."""
    import ssl

    import websockets
    at = urllib.parse.urlsplit(base)
    more = {}
    if at.scheme == "https":
        more["ssl"] = ssl.create_default_context(cafile=ca_file)
    host = headers.get("Host", at.netloc)
    url = f"{'wss' if more else 'ws'}://{host}/ws"
    async with websockets.connect(url, host=at.hostname, port=at.port or 443, max_size=None, **more) as socket:
        await socket.send("hellö")
        text = await socket.recv()
        big = bytes(range(256)) * 8000
        await socket.send(big)
        data = await socket.recv()
        await socket.close(4001, "bye")
        return text, data == big, socket.close_code


@case("getHost: WebSocket")
async def _(c):
    try:
        import websockets  # noqa: F401 - Debian's, not the SDK's
    except ImportError:
        raise Absent("python3-websockets is not installed") from None
    sbx = await c.shared()
    base, headers = await serve(c, sbx, 8001)
    await answers(c, base, headers)
    talking = talk(base, headers, os.environ.get("SSL_CERT_FILE"))
    got = await talking if c.is_async else asyncio.run(talking)
    equal(got, ("hellö", True, 4001), "echoes and the code of the close")


@case("getHost: closed port, dead sandbox")
async def _(c):
    sbx = await c.fresh()
    base, headers = c.port(sbx, 8002)
    status, body = await c.in_thread(c.request, f"{base}/", "GET", headers)
    said = json.loads(body)
    equal((status, said["sandboxId"], said["port"]), (502, sbx.sandbox_id, 8002), "a closed port")
    equal(said["message"], "The sandbox is running but port is not open", "message")
    await c(sbx.kill())
    status, body = await c.in_thread(c.request, f"{base}/", "GET", headers)
    equal((status, json.loads(body)["message"]), (502, "The sandbox was not found"), "a dead sandbox")


@case("network: allowPublicTraffic false")
async def _(c):
    sbx = await c.fresh(network={"allow_public_traffic": False})
    check(sbx.traffic_access_token, "a traffic token")
    base, headers = await serve(c, sbx, 8003)
    equal((await answers(c, base, {**headers, "e2b-traffic-access-token": sbx.traffic_access_token}))[0], 200, "with the token")
    equal((await c.in_thread(c.request, f"{base}/", "GET", headers))[0], 403, "without")
    wrong = {**headers, "e2b-traffic-access-token": "x" * 40}
    equal((await c.in_thread(c.request, f"{base}/", "GET", wrong))[0], 403, "with a wrong one")
    equal((await c(sbx.commands.run("echo open"))).stdout, "open\n", "commands need no traffic token")


@case("allowInternetAccess false")
async def _(c):
    sbx = await c.fresh(allow_internet_access=False)
    r = await c(sbx.commands.run('timeout 5 bash -c "exec 3<>/dev/tcp/192.0.2.1/80" 2>&1; echo code $?'))
    check("code 0" not in r.stdout, r.stdout)
    equal((await c(sbx.get_info())).allow_internet_access, False, "get_info")
