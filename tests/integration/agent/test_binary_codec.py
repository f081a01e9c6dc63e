"""Connect's binary codec, which clients generated from the protocol's definitions speak by default: the same calls and the
same answers, in protobuf. The messages are put together here field by field."""
import gzip
import json
import os
import struct
import time

import pytest
from agentclient import agent, basic, envelope, until  # noqa: F401 (agent is a fixture)

P, FS = "/process.Process/", "/filesystem.Filesystem/"


def varint(n):
    out = b""
    while n > 0x7f:
        out += bytes([n & 0x7f | 0x80])
        n >>= 7
    return out + bytes([n])


def field(number, value):
    if isinstance(value, (bool, int)):
        return varint(number << 3) + varint(value)
    value = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | 2) + varint(len(value)) + value


def fields(data):
    """{number: [values]}"""
    got, at = {}, 0

    def take():
        nonlocal at
        n = shift = 0
        while True:
            c = data[at]
            at += 1
            n |= (c & 0x7f) << shift
            shift += 7
            if not c & 0x80:
                return n

    while at < len(data):
        key = take()
        value = take()
        if key & 7 == 2:
            value, at = data[at:at + value], at + value
        got.setdefault(key >> 3, []).append(value)
    assert at == len(data)
    return got


def one(data, *path):
    for number in path:
        (data,) = fields(data)[number]
    return data


def unary(agent, path, body, user="user", **headers):
    status, got, reply = agent.request("POST", path, body, {"Content-Type": "application/proto", **basic(user), **headers})
    return status, got["content-type"], reply


def stream(agent, path, body, user="user", **headers):
    """([messages], end, content type)"""
    status, got, reply = agent.request("POST", path, body, {
        "Content-Type": "application/connect+proto", "Connect-Protocol-Version": "1", **basic(user), **headers})
    assert status == 200
    messages, at = [], 0
    while at < len(reply):
        flags, n = struct.unpack(">BI", reply[at:at + 5])
        messages.append((flags, reply[at + 5:at + 5 + n]))
        at += 5 + n
    assert [f for f, m in messages] == [0] * (len(messages) - 1) + [2]
    return [m for f, m in messages[:-1]], json.loads(messages[-1][1]), got["content-type"]


def start(cmd, *args, envs=(), tail=field(4, False)):
    config = field(1, cmd) + b"".join(field(2, a) for a in args)
    return field(1, config + b"".join(field(3, field(1, k) + field(2, v)) for k, v in envs)) + tail


def test_list_ct_proto(agent):
    assert unary(agent, P + "List", b"") == (200, "application/proto", b"")


def test_start(agent):
    messages, end, kind = stream(agent, P + "Start", envelope(start(
        "sh", "-c", "echo $A$B; echo err >&2; exit 3", envs=[("A", "first"), ("A", "é"), ("B", "")])))
    assert kind == "application/connect+proto" and end == {}
    assert one(messages[0], 1, 1, 1) > 1
    assert {bytes(one(m, 1, 2)) for m in messages[1:-1]} == {field(1, "é\n"), field(2, "err\n")}
    assert one(messages[-1], 1, 3) == field(1, 6) + field(2, True) + field(3, "exit status 3") + field(4, "exit status 3")


def test_start_killed_by_signal(agent):
    messages, end, _ = stream(agent, P + "Start", envelope(start("sh", "-c", "kill -9 $$")))
    assert one(messages[-1], 1, 3) == field(1, 1) + field(3, "signal: killed") + field(4, "signal: killed")  # -1 as zigzag


def test_errors_are_json(agent):
    status, kind, reply = unary(agent, FS + "Stat", field(1, "/nosuch"))
    assert (status, kind) == (404, "application/json") and json.loads(reply)["code"] == "not_found"
    messages, end, _ = stream(agent, P + "Connect", envelope(field(1, field(1, 999999))))
    assert messages == [] and end == {"error": {"code": "not_found", "message": "process with pid 999999 not found"}}
    for body in (b"\x0a", b"\x0b", b"\x0a\x02\xff\xfe", b"{}"):
        status, kind, reply = unary(agent, FS + "Stat", body)
        assert (status, json.loads(reply)["code"]) == (400, "invalid_argument")
        assert json.loads(reply)["message"].startswith("unmarshal message: proto: ")
    status, kind, reply = unary(agent, FS + "Stat", field(1, "/tmp/a\0b"))
    assert (status, json.loads(reply)["code"]) == (500, "internal")
    assert unary(agent, P + "List", b"", **{"Connect-Protocol-Version": "2"})[0] == 400


def test_stat_and_list(agent):
    status, kind, reply = unary(agent, FS + "Stat", field(1, "/home/bin"))
    entry, same = fields(one(reply, 1)), agent.stat("/home/bin")[1]["entry"]
    assert status == 200 and [entry[1], entry[2], entry[3]] == [[b"bin"], [2], [b"/home/bin"]]
    assert entry[4] == [8] and entry[5] == [0o755] and entry[6] == [b"Lrwxrwxrwx"] and entry[10] == [b"/usr/bin"]
    seconds = time.strptime(same["modifiedTime"][:19] + "UTC", "%Y-%m-%dT%H:%M:%S%Z")
    assert one(entry[9][0], 1) == int(time.mktime(seconds) - time.timezone)
    assert 0 <= fields(entry[9][0]).get(2, [0])[0] < 10**9
    agent.put("/tmp/proto/file", b"x", {"X-Metadata-Kind": "text"})
    status, kind, reply = unary(agent, FS + "ListDir", field(1, "/tmp/proto") + field(2, 1) + field(99, "later"))
    (entry,) = fields(reply)[1]
    assert fields(entry)[11] == [field(1, "kind") + field(2, "text")] and fields(entry)[7] == [b"user"]
    listed = unary(agent, FS + "ListDir", field(1, "/usr/bin"), **{"Accept-Encoding": "gzip"})[2]
    assert len(fields(gzip.decompress(listed))[1]) == len(os.listdir("/usr/bin"))


def test_make_move_and_remove(agent):
    status, _, reply = unary(agent, FS + "MakeDir", field(1, "proto/dir"))
    assert status == 200 and fields(one(reply, 1))[3] == [b"/home/user/proto/dir"]
    assert unary(agent, FS + "Move", field(1, "proto/dir") + field(2, "proto/moved"))[0] == 200
    assert unary(agent, FS + "Remove", field(1, "proto")) == (200, "application/proto", b"")
    assert json.loads(unary(agent, FS + "Remove", b"")[2])["code"] == "invalid_argument"  # the home directory


def test_input_signals_and_list(agent):
    c = agent.connect()
    c.request("POST", P + "Start", envelope(start("cat", tail=field(3, "proto-cat"))),
              {"Content-Type": "application/connect+proto", **basic("user")})
    r = c.getresponse()
    head = r.read(5)
    pid = one(r.read(struct.unpack(">I", head[1:])[0]), 1, 1, 1)
    (info,) = fields(unary(agent, P + "List", b"")[2])[1]
    assert info == field(1, field(1, "cat")) + field(2, pid) + field(3, "proto-cat")
    by_pid, by_tag = field(1, field(1, pid)), field(1, field(2, "proto-cat"))
    assert unary(agent, P + "SendInput", by_tag + field(2, field(1, b"\xff\0a")))[::2] == (200, b"")
    messages = [field(1, by_pid), field(3, b""), field(2, field(2, field(1, b"b" * 100_000)))]
    got, end, _ = stream(agent, P + "StreamInput", b"".join(map(envelope, messages)))
    assert (got, end) == ([b""], {})
    assert unary(agent, P + "Update", by_pid + field(2, field(1, field(1, 80))))[0] == 500  # no terminal
    assert unary(agent, P + "CloseStdin", by_pid)[::2] == (200, b"")
    rest = r.read()
    assert b"\xff\0a" in rest and rest.count(b"b" * 10_000) > 0 and rest.endswith(b"\x02\0\0\0\x02{}")
    c.close()


@pytest.mark.parametrize("number,status", [(9, 200), (15, 200), (2, 501), (0, 501)])
def test_signals_by_number(agent, number, status):
    s = agent.start("sleep", "100")
    pid = s.event()["start"]["pid"]
    assert unary(agent, P + "SendSignal", field(1, field(1, pid)) + field(2, number))[0] == status
    agent.signal(pid)
    s.close()


def test_a_terminal(agent):
    messages, end, _ = stream(agent, P + "Start", envelope(
        start("stty", "size", tail=field(2, field(1, field(1, 100) + field(2, 30))))))
    assert b"".join(one(m, 1, 2, 3) for m in messages[1:-1]) == b"30 100\r\n"


def test_gzip_of_requests(agent):
    body = gzip.compress(start("echo", "hi"))
    messages, end, _ = stream(agent, P + "Start", envelope(body, 1), **{"Connect-Content-Encoding": "gzip"})
    assert one(messages[1], 1, 2, 1) == b"hi\n" and end == {}
    assert unary(agent, FS + "Stat", gzip.compress(field(1, "/")), **{"Content-Encoding": "gzip"})[0] == 200


def test_output_is_exact_and_large(agent):
    messages, end, _ = stream(agent, P + "Start", envelope(start("sh", "-c", "head -c 3000000 /dev/zero | tr '\\0' x")))
    data = [one(m, 1, 2, 1) for m in messages[1:-1]]
    assert b"".join(data) == b"x" * 3_000_000 and max(map(len, data)) <= 32768 and end == {}


def test_watches(agent):
    agent.unary(FS + "MakeDir", {"path": "/tmp/protowatch"})
    status, _, reply = unary(agent, FS + "CreateWatcher", field(1, "/tmp/protowatch") + field(3, True))
    assert status == 200 and one(reply, 1).startswith(b"w")
    agent.sh("sleep 0.3; touch /tmp/protowatch/file")
    events = until(lambda: fields(unary(agent, FS + "GetWatcherEvents", reply)[2]).get(1))
    assert fields(events[0])[1] == [b"file"] and fields(events[0])[2] == [1] and fields(one(events[0], 3))[2] == [1]
    assert unary(agent, FS + "RemoveWatcher", reply)[::2] == (200, b"")
    agent.start("sh", "-c", "sleep 0.3; touch /tmp/protowatch/file2; sleep 0.5").close()
    messages, end, _ = stream(agent, FS + "WatchDir", envelope(field(1, "/tmp/protowatch")),
                              **{"Connect-Timeout-Ms": "1500", "Keepalive-Ping-Interval": "1"})
    assert messages[0] == field(1, b"") and field(3, b"") in messages and end["error"]["code"] == "deadline_exceeded"
    assert fields(one(messages[1], 2))[1] == [b"file2"]


def test_a_message_that_is_too_large(agent):
    status, _, reply = unary(agent, P + "SendInput", field(1, field(1, 1)) + field(2, field(1, b"x" * 4_100_000)))
    assert (status, json.loads(reply)["code"]) == (429, "resource_exhausted")
    assert agent.sh("true").code == 0
