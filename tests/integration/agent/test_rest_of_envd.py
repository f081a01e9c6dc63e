"""What E2B's envd has beyond processes and files: gzip both ways, /files/compose, names of the sandbox, limits of
/metrics, deadlines of every kind of call, and all forms that proto3 JSON allows."""
import base64
import datetime
import gzip
import json
import os
import random
import struct
import time

import pytest
from agentclient import Result, agent, basic, envelope, until  # noqa: F401 (agent is a fixture)

START, LIST, FS = "/process.Process/Start", "/process.Process/List", "/filesystem.Filesystem/"
JSON, STREAM = {"Content-Type": "application/json"}, {"Content-Type": "application/connect+json"}


def packed(message):
    return gzip.compress(message if isinstance(message, bytes) else json.dumps(message).encode())


def end_of(agent, path, body, **headers):
    s = agent.open(path, body=body, headers={k.replace("_", "-"): v for k, v in headers.items()})
    while s.event() is not None:
        pass
    return s.error


# --- gzip in


def test_unary_request_gzip(agent):
    status, reply = agent.unary(FS + "Stat", packed({"path": "/home/hostname"}), Content_Encoding="gzip")
    assert status == 200 and reply["entry"]["size"] == "3"
    assert agent.unary(LIST, packed(b"{}"), Content_Encoding="GZIP") == (200, {})
    assert agent.unary(LIST, {}, Content_Encoding="identity") == (200, {})


@pytest.mark.parametrize("body", [b"{}", b"\x1f\x8b", gzip.compress(b"{}")[:-3], gzip.compress(b"{}") + b"x",
                                  b"\x1f\x8b" + b"\0" * 60])
def test_unary_request_gzip_bogus(agent, body):
    status, reply = agent.unary(LIST, body, Content_Encoding="gzip")
    assert (status, reply["code"]) == (400, "invalid_argument") and reply["message"].startswith("decompress:")


def test_a_gzip_bomb_is_bounded(agent):
    bomb = gzip.compress(b'{"path":"' + b"a" * 64_000_000 + b'"}')
    assert len(bomb) < 100_000
    status, reply = agent.unary(FS + "Stat", bomb, Content_Encoding="gzip")
    assert (status, reply["code"]) == (429, "resource_exhausted")
    error = end_of(agent, START, envelope(bomb, 1), Connect_Content_Encoding="gzip")
    assert error["code"] == "resource_exhausted"
    assert agent.sh("true").code == 0


def test_stream_request_gzip(agent):
    s = agent.open(START, body=envelope(packed({"process": {"cmd": "echo", "args": ["hi"]}, "stdin": False}), 1),
                   headers={"Connect-Content-Encoding": "gzip"})
    assert Result(s).stdout == b"hi\n"
    # with the field a message may be plain all the same
    s = agent.open(START, {"process": {"cmd": "true"}, "stdin": False}, headers={"Connect-Content-Encoding": "gzip"})
    assert Result(s).code == 0


def test_stream_request_gzip_bogus(agent):
    for body in (b"{}", packed({"process": {"cmd": "true"}})[:-5]):
        assert end_of(agent, START, envelope(body, 1), Connect_Content_Encoding="gzip")["code"] == "invalid_argument"
    error = end_of(agent, START, envelope(packed({"process": {"cmd": "true"}}), 1))
    assert error["code"] == "internal" and "without compression support" in error["message"]
    error = end_of(agent, START, envelope(b"{}"), Connect_Content_Encoding="br")
    assert error["code"] == "unimplemented"


def test_stream_input_gzip(agent):
    s = agent.start("cat", stdin=True)
    pid = s.event()["start"]["pid"]
    data = {"data": {"input": {"stdin": base64.b64encode(b"packed ").decode()}}}
    body = (envelope(packed({"start": {"process": {"pid": pid}}}), 1) + envelope(packed(data), 1) +
            envelope(json.dumps(data).encode()) + envelope(packed(data), 1))
    reply = agent.open("/process.Process/StreamInput", body=body, headers={"Connect-Content-Encoding": "gzip"})
    assert reply.next() == (0, {}) and reply.next() == (2, {})
    agent.unary("/process.Process/CloseStdin", {"process": {"pid": pid}})
    assert Result(s).stdout == b"packed packed packed "


# --- gzip out


def test_unary_reply_gzip(agent):
    agent.sh("mkdir -p /tmp/zip && cd /tmp/zip && touch $(seq 200)")
    body = json.dumps({"path": "/tmp/zip"})
    plain = agent.request("POST", FS + "ListDir", body, JSON)[2]
    status, headers, got = agent.request("POST", FS + "ListDir", body, {**JSON, "Accept-Encoding": "gzip"})
    assert (status, headers["content-encoding"], headers["content-type"]) == (200, "gzip", "application/json")
    assert gzip.decompress(got) == plain and len(got) < len(plain) / 2
    for field in ("gzip, deflate", "identity", "zstd,gzip,br"):
        status, headers, got = agent.request("POST", FS + "ListDir", body, {**JSON, "Accept-Encoding": field})
        assert headers["content-encoding"] is None and got == plain
    # one that is small is not worth it
    assert agent.request("POST", LIST, "{}", {**JSON, "Accept-Encoding": "gzip"})[2] == b"{}"


@pytest.mark.parametrize("n", [0, 1, 3, 65536, 65537, 3_000_000])
def test_files_get_gzip(agent, n):
    content = bytes(random.choices(b"abcdefgh", k=n))
    assert agent.put("/tmp/zip.bin", content)[0] == 200
    for field in ("gzip", "gzip, identity;q=0", "br, gzip, identity;q=0"):
        status, headers, body = agent.get("/tmp/zip.bin", {"Accept-Encoding": field})
        assert (status, headers["content-encoding"], headers["vary"]) == (200, "gzip", "Accept-Encoding")
        assert gzip.decompress(body) == content and headers["accept-ranges"] is None
        assert headers["content-disposition"] == "inline; filename=zip.bin"
    for field in ("gzip, deflate, br, zstd", "identity", "", "gzip;q=0"):
        status, headers, body = agent.get("/tmp/zip.bin", {"Accept-Encoding": field})
        assert status == 200 and headers["content-encoding"] is None and body == content


def test_files_get_gzip_conditions(agent):
    agent.put("/tmp/zip.txt", b"0123456789")
    status, headers, body = agent.get("/tmp/zip.txt", {"Accept-Encoding": "gzip", "Range": "bytes=2-4"})
    assert (status, body, headers["content-encoding"]) == (206, b"234", None)  # a range is of the file's own bytes
    modified = agent.get("/tmp/zip.txt")[1]["last-modified"]
    assert agent.get("/tmp/zip.txt", {"Accept-Encoding": "gzip", "If-Modified-Since": modified})[0] == 304
    assert agent.get("/nosuch", {"Accept-Encoding": "gzip"})[0] == 404


# --- /files/compose


def compose(agent, body, user="user"):
    if isinstance(body, dict) and user:
        body = {"username": user, **body}
    status, headers, reply = agent.request("POST", "/files/compose", body if isinstance(body, bytes) else json.dumps(body), JSON)
    return status, json.loads(reply)


def test_compose_missing(agent):
    reply = compose(agent, {"source_paths": ["/nosuch"], "destination": "/tmp/x"})
    assert reply == (404, {"code": 404, "message": "source file not found: /nosuch"})


def test_compose_ok(agent):
    for i, content in enumerate((b"one ", b"", b"x" * 200_000)):
        agent.put(f"/home/user/part{i}", content)
    reply = compose(agent, {"source_paths": ["part0", "~/part1", "/home/user/part2", "part0"], "destination": "made/it.bin"})
    assert reply == (200, {"name": "it.bin", "path": "/home/user/made/it.bin", "type": "file"})
    assert agent.get("made/it.bin")[2] == b"one " + b"x" * 200_000 + b"one "
    entry = agent.stat("made/it.bin")[1]["entry"]
    assert (entry["owner"], entry["permissions"]) == ("user", "-rw-r--r--")
    for i in range(3):  # the sources are gone
        assert agent.stat(f"part{i}")[0] == 404
    assert [e["name"] for e in agent.unary(FS + "ListDir", {"path": "made"})[1]["entries"]] == ["it.bin"]


def test_compose_onto_a_source_and_onto_a_file(agent):
    agent.put("/tmp/base", b"a")
    agent.put("/tmp/more", b"b")
    assert agent.sh("chmod 0751 /tmp/base").code == 0
    assert compose(agent, {"source_paths": ["/tmp/base", "/tmp/more"], "destination": "/tmp/base"})[0] == 200
    assert agent.get("/tmp/base")[2] == b"ab" and agent.stat("/tmp/more")[0] == 404
    assert agent.stat("/tmp/base")[1]["entry"]["mode"] == 0o751


def test_compose_failures_change_nothing(agent):
    agent.put("/tmp/c1", b"1")
    agent.put("/tmp/dest", b"before")
    for body, status in (({"source_paths": ["/tmp/c1", "/nosuch"], "destination": "/tmp/dest"}, 404),
                         ({"source_paths": ["/tmp/c1", "/etc"], "destination": "/tmp/dest"}, 400),
                         ({"source_paths": ["/tmp/c1"], "destination": "/etc"}, 400),
                         ({"source_paths": ["/tmp/c1"], "destination": "/tmp/dest/below"}, 400),
                         ({"source_paths": ["/tmp/c1", "/proc/self/mem"], "destination": "/tmp/dest"}, 500),
                         ({"source_paths": [], "destination": "/tmp/dest"}, 400),
                         ({"source_paths": ["/tmp/c1"]}, 400), ({"destination": "/tmp/dest"}, 400),
                         ({"source_paths": ["~root/x"], "destination": "/tmp/dest"}, 400),
                         ({"source_paths": "/tmp/c1", "destination": "/tmp/dest"}, 400),
                         ({"source_paths": ["/tmp/c1"] * 1025, "destination": "/tmp/dest"}, 400),
                         (b"{bad", 400), (b"", 400)):
        got, reply = compose(agent, body)
        assert (got, reply["code"]) == (status, status), (body, reply)
    assert compose(agent, {"source_paths": ["/tmp/c1"], "destination": "/tmp/d2"}, user="nosuch")[0] == 401
    assert agent.get("/tmp/c1")[2] == b"1" and agent.get("/tmp/dest")[2] == b"before"
    assert agent.sh("ls /tmp | grep -c dest[.]").stdout == b"0\n"  # no copy is left
    assert agent.request("GET", "/files/compose")[0] == 405


def test_compose_full_disk(agent):
    agent.sh("head -c 150000000 /dev/zero > /tmp/large")
    status, reply = compose(agent, {"source_paths": ["/tmp/large", "/tmp/large"], "destination": "/tmp/larger"})
    assert (status, reply["code"]) == (507, 507)
    assert agent.stat("/tmp/large")[0] == 200 and agent.stat("/tmp/larger")[0] == 404
    agent.sh("rm /tmp/large")


# --- what the sandbox knows of itself


def test_names_of_the_sandbox(agent):
    body = {"sandboxId": "i0123456789", "templateId": "base"}
    assert agent.request("POST", "/init", json.dumps(body))[0] == 204
    try:
        assert json.loads(agent.request("GET", "/envs")[2]) == {
            "E2B_SANDBOX": "true", "E2B_SANDBOX_ID": "i0123456789", "E2B_TEMPLATE_ID": "base"}
        assert agent.sh("echo $E2B_SANDBOX $E2B_SANDBOX_ID $E2B_TEMPLATE_ID").stdout == b"true i0123456789 base\n"
    finally:
        assert agent.request("POST", "/init", b'{"sandboxId":"","templateId":""}')[0] == 204
    assert agent.request("POST", "/init", json.dumps({"sandboxId": "x" * 257}))[0] == 400


def test_metrics_are_those_of_the_sandbox(agent):
    limit = 512 << 20
    agent.request("POST", "/init", json.dumps({"memoryBytes": str(limit), "cpuMilli": 1500}))
    try:
        before = json.loads(agent.request("GET", "/metrics")[2])
        assert before["mem_total"] == limit and before["mem_total_mib"] == 512 and before["cpu_count"] == 2
        hog = agent.start("python3", "-c", "x = bytearray(64 << 20); print(len(x), flush=True)\nwhile True: pass")
        assert "start" in hog.event() and "data" in hog.event()
        grown = until(lambda: (m := json.loads(agent.request("GET", "/metrics")[2]))["cpu_used_pct"] > 0 and m)
        assert (60 << 20) < grown["mem_used"] - before["mem_used"] < (200 << 20)
        assert grown["mem_used_mib"] == grown["mem_used"] >> 20 and grown["cpu_used_pct"] <= 100
        hog.close()
        for pid in agent.pids():
            agent.signal(pid)
        until(lambda: not agent.pids())
    finally:
        agent.request("POST", "/init", b'{"memoryBytes":"0"}')


# --- deadlines


@pytest.mark.parametrize("value", ["abc", "-1", "12345678901", "1.5"])
def test_unary_bad_timeout(agent, value):
    status, reply = agent.unary(LIST, {}, Connect_Timeout_Ms=value)
    assert (status, reply["code"]) == (400, "invalid_argument") and reply["message"].startswith("parse timeout:")
    assert agent.unary(LIST, {}, Connect_Timeout_Ms="60000") == (200, {})


def test_deadline_of_input(agent):
    s = agent.start("sleep", "100", stdin=True)
    pid = s.event()["start"]["pid"]
    message = {"process": {"pid": pid}, "input": {"stdin": base64.b64encode(b"x" * 2_000_000).decode()}}
    status, reply = agent.unary("/process.Process/SendInput", message, Connect_Timeout_Ms="300")
    assert (status, reply) == (504, {"code": "deadline_exceeded", "message": "context deadline exceeded"})
    body = envelope(json.dumps({"start": {"process": {"pid": pid}}}).encode()) + envelope(
        json.dumps({"data": {"input": message["input"]}}).encode())
    assert end_of(agent, "/process.Process/StreamInput", body, Connect_Timeout_Ms="300")["code"] == "deadline_exceeded"
    agent.signal(pid)
    s.close()


def test_deadline_of_a_body_that_does_not_come(agent):
    c = agent.connect()
    c.putrequest("POST", "/process.Process/StreamInput")
    for k, v in {**STREAM, "Connect-Timeout-Ms": "300", "Transfer-Encoding": "chunked"}.items():
        c.putheader(k, v)
    c.endheaders()
    r = c.getresponse()
    head = r.read(5)
    assert head[0] == 2 and json.loads(r.read(struct.unpack(">I", head[1:])[0]))["error"]["code"] == "deadline_exceeded"
    c.close()


def test_deadline_of_a_removal(agent):
    agent.sh("mkdir -p /tmp/deep && cd /tmp/deep && for i in $(seq 300); do mkdir d$i; touch d$i/$(seq -s ' d'$i/ 50); done 2>/dev/null")
    status, reply = agent.unary(FS + "Remove", {"path": "/tmp/deep"}, Connect_Timeout_Ms="1")
    assert (status, reply.get("code")) in ((504, "deadline_exceeded"), (200, None))  # it may have been faster
    assert agent.unary(FS + "Remove", {"path": "/tmp/deep"}) == (200, {})


# --- proto3 JSON


@pytest.mark.parametrize("message", [
    {"process": {"cmd": "sh", "args": ["-c", "exit 3"]}, "stdin": False},
    {"process": {"cmd": "sh", "args": ["-c", "exit 3"], "cwd": None, "envs": None}, "pty": None, "tag": None, "stdin": False},
    {"process": {"cmd": "sh", "args": ["-c", "exit 3"], "future": {"a": [1, {"b": None}]}}, "later": [[[]]], "stdin": False},
])
def test_unknown_and_null_fields(agent, message):
    assert Result(agent.open(START, message)).code == 3


def test_snake_case_and_numbers(agent):
    assert agent.unary(FS + "CreateWatcher", {"path": "/tmp", "include_entry": True, "allow_network_mounts": True})[0] == 200
    status, reply = agent.unary(FS + "CreateWatcher", {"path": "/tmp", "includeEntry": True, "allowNetworkMounts": False})
    assert status == 200
    assert agent.unary(FS + "GetWatcherEvents", {"watcher_id": reply["watcherId"]}) == (200, {})
    assert agent.unary(FS + "RemoveWatcher", {"watcherId": reply["watcherId"]}) == (200, {})
    assert agent.unary(FS + "ListDir", {"path": "/home/user", "depth": "2"})[0] == 200
    s = agent.start("sleep", "100")
    pid = s.event()["start"]["pid"]
    assert agent.unary("/process.Process/SendSignal", {"process": {"pid": str(pid)}, "signal": 15}) == (200, {})
    assert Result_end(s)["status"] == "signal: terminated"


def Result_end(stream):
    return [e["end"] for e in stream.events() if "end" in e][0]


@pytest.mark.parametrize("text", ["-_8=", "-_8", "+/8=", "+/8"])
def test_bytes_of_both_alphabets_padded_or_not(agent, text):
    s = agent.start("cat", stdin=True)
    pid = s.event()["start"]["pid"]
    assert agent.unary("/process.Process/SendInput", {"process": {"pid": pid}, "input": {"stdin": text}}) == (200, {})
    agent.unary("/process.Process/CloseStdin", {"process": {"pid": pid}})
    assert Result(s).stdout == b"\xfb\xff"


@pytest.mark.parametrize("depth,ok", [(20, True), (5000, False)])
def test_recursion_is_bounded(agent, depth, ok):
    body = b'{"process":{"cmd":"true"},"stdin":false,"deep":' + b"[" * depth + b"]" * depth + b"}"
    s = agent.open(START, body)
    assert (Result(s).error is None) == ok
    if not ok:
        assert s.error["code"] == "invalid_argument"


# --- what is not served, and says so


@pytest.mark.parametrize("kind", ["application/grpc", "application/grpc+json", "application/grpc-web-text"])
def test_other_protocols(agent, kind):
    for path in (LIST, START):
        status, headers, body = agent.request("POST", path, b"", {"Content-Type": kind})
        assert (status, body) == (415, b"") and "json" in headers["accept-post"]


def test_upgrade_of_the_daemon(agent):
    assert agent.request("POST", "/upgrade", b"")[0] == 404  # its own host's business, not ours


def test_a_file_is_bytes_for_those_who_do_not_ask_for_descriptors(agent):
    agent.put("/tmp/big.bin", os.urandom(300_000))
    plain = agent.get("/tmp/big.bin")
    assert plain[1]["sandmux-descriptor"] is None and len(plain[2]) == 300_000
    c = agent.connect()
    c.request("GET", "/files?path=/tmp/big.bin&username=user", headers={"Sandmux-Descriptor": "1", "Range": "bytes=7-99999"})
    r = c.getresponse()
    assert (r.status, r.getheader("content-length"), r.getheader("sandmux-descriptor")) == (206, "0", "7 99993")
    assert r.read() == b"" and r.getheader("content-range") == "bytes 7-99999/300000"
    time.sleep(0.05)
    c.request("GET", "/files?path=/home/hostname", headers={"Sandmux-Descriptor": "1"})  # small: as bytes
    assert c.getresponse().read() == b"vm\n"
    c.close()


def test_a_brief_list_for_the_gateway(agent):
    agent.put("/tmp/brief/file", b"x", headers={"X-Metadata-Key": "value"})
    full, = agent.unary(FS + "ListDir", {"path": "/tmp/brief"})[1]["entries"]
    brief, = agent.unary(FS + "ListDir", {"path": "/tmp/brief", "sandmuxBrief": True})[1]["entries"]
    assert full.pop("metadata") == {"key": "value"} and full.pop("permissions") == "-rw-r--r--"
    assert brief == full


def records(body):
    """The entries of a body of sandmux's own kind, as ListDir's JSON has them."""
    entries = []
    while body:
        *lengths, mode, kind, is_link, zero, size, mtime = struct.unpack_from("<5HBBIQq", body)
        assert zero == 0
        body, texts = body[32:], []
        for n in lengths:
            assert body[n] == 0
            texts.append(body[:n].decode())
            body = body[n + 1:]
        path, target, owner, group = texts
        entry = {"path": path, "name": path.rsplit("/", 1)[1], "owner": owner, "group": group, "mtime": mtime}
        entry |= {k: v for k, v in (("mode", mode), ("size", str(size) if size else None)) if v}
        entry |= {"type": ("", "FILE_TYPE_FILE", "FILE_TYPE_DIRECTORY", "FILE_TYPE_SYMLINK")[kind]} if kind else {}
        entry |= {"symlinkTarget": target, "isSymlink": True} if is_link else {}
        entries.append(entry)
    return entries


def test_a_list_in_records_says_what_the_brief_one_says(agent):
    """Asked for by its type only; errors and everybody else's lists are JSON."""
    agent.put("/tmp/many/folder/file", b"x")
    agent.sh("cd /tmp/many && ln -s folder in && ln -s /nowhere out && mkfifo fifo && chmod 4750 folder/file && "
             "touch -d @-1.5 folder/old && touch -d @9999999999.123456 new && touch -d @4611686018427387904 far && for i in $(seq 500); do : > n$i; done")
    body = {"path": "/tmp/many", "depth": 2, "sandmuxBrief": True}
    mine = {**JSON, "Accept": "application/x-sandmux-entries"}
    want = agent.unary(FS + "ListDir", body)[1]["entries"]
    status, headers, reply = agent.request("POST", FS + "ListDir", json.dumps(body), mine)[:3]
    got = records(reply)
    assert (status, headers["Content-Type"]) == (200, "application/x-sandmux-entries") and len(got) == 508
    times = [(entry.pop("mtime"), other.pop("modifiedTime")) for entry, other in zip(got, want)]
    assert got == want
    for ms, text in times:
        moment = datetime.datetime.fromisoformat(text[:19] + "+00:00")
        assert ms // 1000 == moment.timestamp() and ms % 1000 == int((text[19:-1].lstrip(".") + "000")[:3])
    assert records(agent.request("POST", FS + "ListDir", json.dumps({"path": "/tmp/many/in"}), mine)[2]) != []
    agent.sh("mkdir -p /tmp/none")
    assert agent.request("POST", FS + "ListDir", json.dumps({"path": "/tmp/none"}), mine)[2] == b""
    status, headers, reply = agent.request("POST", FS + "ListDir", json.dumps({"path": "/missing"}), mine)[:3]
    assert (status, headers["Content-Type"], json.loads(reply)["code"]) == (404, "application/json", "not_found")
    assert b"entries" in agent.request("POST", FS + "ListDir", json.dumps(body), {**JSON, "Accept": "*/*"})[2]


def test_long_lists_in_every_shape(agent):
    """More names than are looked at in one go, by name and by path, in the innermost directory and above it; the
    agent has one thread again afterwards."""
    agent.sh("mkdir -p /tmp/long/deep && cd /tmp/long && seq -f f%04.0f 2500 | xargs touch && cd deep && seq -f g%04.0f 2100 | "
             "xargs mkdir && printf 12345 > /tmp/long/f1777 && ln -s f1777 f9999")
    mine = {**JSON, **basic("user"), "Accept": "application/x-sandmux-entries"}
    for path, depth, count in (("/tmp/long", 1, 2501), ("/tmp/long", 2, 4602), ("/tmp/long/deep", 1, 2101), ("/tmp/long", 9, 4602)):
        body = {"path": path, "depth": depth}
        entries = agent.unary(FS + "ListDir", body)[1]["entries"]
        assert len(entries) == count and [e["path"] for e in entries] == sorted(e["path"] for e in entries)
        got = records(agent.request("POST", FS + "ListDir", json.dumps(body), mine)[2])
        for key in ("path", "type", "size", "mode", "symlinkTarget"):
            assert [e.get(key) for e in got] == [e.get(key) for e in entries]
        assert [e["size"] for e in got if e["name"] == "f1777"] == (["5"] if path == "/tmp/long" else [])
    assert os.listdir(f"/proc/{agent.host_pid}/task") == [str(agent.host_pid)]
    agent.sh("chmod 600 /tmp/long/deep")
    assert len(agent.unary(FS + "ListDir", {"path": "/tmp/long/deep"}, user="root")[1]["entries"]) == 2101


def test_a_process_writes_to_pipes_that_wait(agent):
    said = agent.sh("cat /proc/self/fdinfo/1 /proc/self/fdinfo/2").stdout.decode()
    flags = [int(line.split()[1], 8) for line in said.splitlines() if line.startswith("flags")]
    assert len(flags) == 2 and not any(f & os.O_NONBLOCK for f in flags)
