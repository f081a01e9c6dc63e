"""What a client of E2B's data plane sends, by hand: routing by fields or by Host, tokens, envelopes, signed URLs."""
import base64
import hashlib
import json
import struct
import time
import urllib.parse

import requests

ENVD = 49983


def token_of(box):
    """The sandbox's token: what E2B calls its envd access token."""
    reply = box.daemon.get(f"{box.path}/preview", params={"port": 1})
    assert reply.status_code == 200, reply.text
    return reply.json()["token"]


def fields(box, port=ENVD, token=True, **more):
    out = {"E2b-Sandbox-Id": box.id, "E2b-Sandbox-Port": str(port)}
    if token:
        out["X-Access-Token"] = token if isinstance(token, str) else token_of(box)
    out.update({k.replace("_", "-"): v for k, v in more.items()})
    return out


def host_of(box, port=ENVD, suffix=""):
    return f"{port}-{box.id}{suffix}.localhost:{box.daemon.port}"


def ask(box, method, path, port=ENVD, token=True, by="fields", headers=None, suffix="", **more):
    """A request to a port of the sandbox as the SDKs send it."""
    sent = fields(box, port, token)
    if by == "host":
        sent = {k: v for k, v in sent.items() if not k.startswith("E2b")}
        sent["Host"] = host_of(box, port, suffix)
    sent.update(headers or {})
    more.setdefault("timeout", 60)
    return requests.request(method, box.daemon.url + path, headers=sent, **more)


def rpc(box, name, message, headers=None, **more):
    return ask(box, "POST", "/" + name, json=message, headers={"Connect-Protocol-Version": "1", **(headers or {})}, **more)


def envelope(message, flags=0):
    data = message if isinstance(message, bytes) else json.dumps(message).encode()
    return struct.pack(">BI", flags, len(data)) + data


def start_message(command):
    return {"process": {"cmd": "/bin/bash", "args": ["-l", "-c", command]}, "stdin": False}


def open_stream(box, name, message, headers=None, **more):
    return ask(box, "POST", "/" + name, data=envelope(message), stream=True,
               headers={"Content-Type": "application/connect+json", "Connect-Protocol-Version": "1", **(headers or {})}, **more)


def open_command(box, command, **more):
    return open_stream(box, "process.Process/Start", start_message(command), **more)


def envelopes(reply):
    """(flags, message) one by one; raises what requests raises when the stream is cut."""
    raw, data = reply.iter_content(None), b""
    while True:
        while len(data) < 5 or len(data) < 5 + struct.unpack(">I", data[1:5])[0]:
            piece = next(raw, None)
            if piece is None:
                assert data == b"", "cut inside of an envelope"
                return
            data += piece
        n = struct.unpack(">I", data[1:5])[0]
        yield data[0], json.loads(data[5:5 + n])
        data = data[5 + n:]


def run(box, command, **more):
    """stdout and exit code of a command."""
    out, code = b"", None
    with open_command(box, command, **more) as reply:
        assert reply.status_code == 200, reply.text
        for flags, message in envelopes(reply):
            event = message.get("event", {})
            out += base64.b64decode(event.get("data", {}).get("stdout", ""))
            if "end" in event:
                code = event["end"].get("exitCode", 0)
            assert "error" not in message, message
    return out, code


def signature(token, path, operation="read", user="", expiration=None):
    text = f"{path}:{operation}:{user}:{token}" + ("" if expiration is None else f":{expiration}")
    return "v1_" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode().rstrip("=")


def signed_url(box, path, operation="read", user="", lifetime=None, token=None):
    expiration = None if lifetime is None else int(time.time()) + lifetime
    query = {"path": path, "signature": signature(token or token_of(box), path, operation, user, expiration)}
    if user:
        query["username"] = user
    if expiration is not None:
        query["signature_expiration"] = expiration
    return f"{box.daemon.url}/files?{urllib.parse.urlencode(query)}"
