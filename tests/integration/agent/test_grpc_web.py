"""gRPC-Web, which needs no HTTP/2 and which envd answers beside Connect: the same envelopes, with the end as fields."""
import json
import struct

import pytest
from agentclient import agent, basic, envelope  # noqa: F401 (agent is a fixture)
from test_binary_codec import field, fields, one, start

P, FS = "/process.Process/", "/filesystem.Filesystem/"


def web(agent, path, body, kind="json", user="user", **headers):
    """([messages], {fields of the end})"""
    kind = "application/grpc-web" + (kind and "+" + kind)
    status, got, reply = agent.request("POST", path, body, {"Content-Type": kind, "X-Grpc-Web": "1", **basic(user), **headers})
    assert (status, got["content-type"], got["grpc-accept-encoding"]) == (200, kind, "gzip")
    parts, at = [], 0
    while at < len(reply):
        flags, n = struct.unpack(">BI", reply[at:at + 5])
        parts.append((flags, reply[at + 5:at + 5 + n]))
        at += 5 + n
    assert [f for f, p in parts] == [0] * (len(parts) - 1) + [0x80]
    lines = parts[-1][1].decode("ascii").split("\r\n")
    assert lines.pop() == ""
    return [p for f, p in parts[:-1]], dict(line.split(": ", 1) for line in lines)


def test_start_grpc_web_json(agent):
    messages, end = web(agent, P + "Start", envelope(b'{"process":{"cmd":"true"},"stdin":false}'))
    assert [list(json.loads(m)["event"]) for m in messages] == [["start"], ["end"]] and end == {"grpc-status": "0"}


@pytest.mark.parametrize("kind", ["", "proto"])
def test_start_in_binary(agent, kind):
    messages, end = web(agent, P + "Start", envelope(start("sh", "-c", "echo hi; exit 3")), kind)
    assert one(messages[1], 1, 2, 1) == b"hi\n" and one(messages[2], 1, 3, 1) == 6 and end == {"grpc-status": "0"}


def test_unary_calls(agent):
    (message,), end = web(agent, FS + "Stat", envelope(b'{"path":"/home/hostname"}'))
    assert json.loads(message)["entry"]["size"] == "3" and end == {"grpc-status": "0"}
    (message,), end = web(agent, FS + "Stat", envelope(field(1, "/home/hostname")), "proto")
    assert fields(one(message, 1))[4] == [3]
    assert web(agent, P + "List", envelope(b"{}"))[0] == [b"{}"] and web(agent, P + "List", envelope(b""), "proto")[0] == [b""]
    assert web(agent, FS + "Remove", envelope(field(1, "/tmp/nosuch")), "proto") == ([b""], {"grpc-status": "0"})


def test_errors_are_fields_of_the_end(agent):
    for kind, body in (("json", '{"path":"/nosuch/é%"}'.encode()), ("proto", field(1, "/nosuch/é%"))):
        messages, end = web(agent, FS + "Stat", envelope(body), kind)
        assert messages == [] and end["grpc-status"] == "5"
        assert end["grpc-message"].startswith("file not found: /nosuch/%C3%A9%25:")
    assert web(agent, P + "Connect", envelope(field(1, field(1, 999999))), "proto") == (
        [], {"grpc-status": "5", "grpc-message": "process with pid 999999 not found"})
    assert web(agent, FS + "Stat", envelope(b"{}"), user="nosuch")[1]["grpc-status"] == "16"
    for body, status in ((b"", "12"), (envelope(b"{}") * 2, "12"), (b"\0\0\0\0\5{", "3"), (envelope(b"{"), "3"),
                         (envelope(b"{}", 1), "13")):
        assert web(agent, P + "List", body)[1]["grpc-status"] == status


@pytest.mark.parametrize("value,status", [("300m", "4"), ("300000u", "4"), ("10H", None), ("0S", None), ("x", "3"), ("5", "3"),
                                          ("123456789S", "3"), ("-1S", "3"), ("1s", "3")])
def test_grpc_timeout(agent, value, status):
    command = "sleep 20" if status == "4" else "true"
    end = web(agent, P + "Start", envelope(json.dumps({"process": {"cmd": "sh", "args": ["-c", command]}}).encode()),
              **{"Grpc-Timeout": value, "Connect-Timeout-Ms": "nonsense"})[1]
    assert end["grpc-status"] == (status or "0")


def test_gzip(agent):
    import gzip
    (message,), end = web(agent, FS + "Stat", envelope(gzip.compress(b'{"path":"/home/hostname"}'), 1), **{"Grpc-Encoding": "gzip"})
    assert json.loads(message)["entry"]["name"] == "hostname"
    assert web(agent, FS + "Stat", envelope(b"{}"), **{"Grpc-Encoding": "br"})[1]["grpc-status"] == "12"


def test_input_by_a_stream(agent):
    s = agent.start("cat", stdin=True)
    pid = s.event()["start"]["pid"]
    body = envelope(field(1, field(1, field(1, pid)))) + envelope(field(2, field(2, field(1, b"abc"))))
    assert web(agent, P + "StreamInput", body, "proto") == ([b""], {"grpc-status": "0"})
    assert s.event()["data"] == {"stdout": "YWJj"}
    agent.signal(pid)
    s.close()


def test_a_reply_that_is_too_long_says_so(agent):
    agent.sh("mkdir -p /tmp/webmany && cd /tmp/webmany && seq -f '%0200.0f' 9000 | xargs touch")
    for kind, body in (("json", b'{"path":"/tmp/webmany"}'), ("proto", field(1, "/tmp/webmany"))):
        messages, end = web(agent, FS + "ListDir", envelope(body), kind)
        assert messages == [] and end["grpc-status"] == "8"
    status, got, reply = agent.request("POST", FS + "ListDir", field(1, "/tmp/webmany"), {"Content-Type": "application/proto"})
    assert status == 200 and len(fields(reply)[1]) == 9000  # by Connect's it is no envelope
    agent.sh("rm -r /tmp/webmany")
