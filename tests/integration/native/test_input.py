"""Requests that no well-behaved client sends: each gets one clear typed error, and the daemon goes on."""
import concurrent.futures
import json
import re
import socket

import pytest
import requests

from conftest import until

pytestmark = pytest.mark.root


def status_of(answer):
    match = re.match(rb"HTTP/1\.1 (\d{3}) ", answer)
    return int(match.group(1)) if match else None


@pytest.mark.parametrize("data,status", [
    (b"nonsense\r\n\r\n", 400), (b"GET / HTTP/2.0\r\n\r\n", 505), (b"GET / HTTP/1.1\r\n\r\n", 400),
    (b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400), (b"GET /" + b"a" * 200_000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n", 414),
    (b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"a" * 200_000 + b"\r\n\r\n", 431),
    (b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
    (b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n\r\n", 400),
])
def test_bad_heads_get_a_problem(daemon, data, status):
    answer = daemon.raw(data)
    assert status_of(answer) in (status, 400, 431), answer[:200]
    body = json.loads(answer.split(b"\r\n\r\n", 1)[1])
    assert body["type"].startswith("urn:sandmux:error:") and body["hint"]


@pytest.mark.parametrize("body", ['{"name":"a","name":"b"}', '{"name":"a\\u0000b"}', '{"metadata":{"a":1}}', '{"metadata":[]}', '{"timeout_s":1e400}',
                                  '{"timeout_s":18446744073709551616}', '{"resources":{"gpu":1}}', '{"resources":5}', '{"env":{"":"x"}}', '{"template":""}',
                                  '{"name":""}', '{"name":"UPPER"}', '{"name":"' + "n" * 64 + '"}', "[" * 5000, '{"a":' * 100, "\xff", "null", "5", "{} {}"])
def test_bad_create_bodies(daemon, body):
    reply = daemon.post("/api/sandboxes", data=body.encode("latin-1"))
    assert reply.status_code in (404, 422) and reply.headers["Content-Type"] == "application/problem+json", reply.text
    assert reply.json()["request_id"] == reply.headers["X-Request-Id"]


def test_unknown_fields_are_named(daemon, module_sandbox):
    for method, path, body, field in (("POST", "/api/sandboxes", {"tmplate": "base"}, "tmplate"), ("PUT", "/api/sandboxes/x", {"oops": 1}, "oops"),
                                      ("PATCH", module_sandbox.path, {"timeout": 1}, "timeout"), ("POST", f"{module_sandbox.path}/exec", {"cmd": "x"}, "cmd"),
                                      ("POST", f"{module_sandbox.path}/files/move", {"from": "a", "to": "b", "mode": 1}, "mode"),
                                      ("POST", "/api/keys", {"name": "a", "admin": True}, "admin")):
        reply = daemon.request(method, path, json=body)
        assert reply.status_code == 422 and field in reply.json()["detail"], reply.text


def test_bodies_beyond_their_limit_are_413_and_name_it(daemon, module_sandbox):
    reply = daemon.post("/api/sandboxes", data=b'{"name":"' + b"x" * 2_000_000 + b'"}')
    assert (reply.status_code, reply.json()["code"]) == (413, "payload_too_large") and "1048576" in reply.json()["detail"]
    reply = daemon.post(f"{module_sandbox.path}/exec", data=b'{"command":"' + b"x" * 5_000_000 + b'"}')
    assert reply.status_code == 413 and "4194304" in reply.json()["detail"]
    too_many = {f"k{i}": "v" for i in range(65)}
    assert daemon.post("/api/sandboxes", json={"metadata": too_many}).status_code == 422
    assert daemon.post("/api/sandboxes", json={"metadata": {"k": "v" * 5000}}).status_code == 422
    assert daemon.post("/api/sandboxes", json={"env": {f"E{i}": "v" for i in range(300)}}).status_code == 422
    assert daemon.post("/api/sandboxes", json={"env": {"E": "v" * 200_000}}).status_code == 422


def test_request_ids(daemon):
    assert daemon.get("/healthz", headers={"X-Request-Id": "my-id_1.2"}).headers["X-Request-Id"] == "my-id_1.2"
    for bad in ("a b", "x" * 65, "a\tb", "é"):
        got = daemon.get("/healthz", headers={"X-Request-Id": bad.encode("latin-1")}).headers["X-Request-Id"]
        assert re.fullmatch(r"req-[0-9a-f]{16}", got)
    daemon.get("/api/sandboxes?secret=planted-query-1", headers={"X-Request-Id": "find-me-77"})
    line = next(line for line in daemon.log().splitlines() if "find-me-77" in line)
    assert "path=/api/sandboxes" in line and "status=200" in line and "planted-query" not in daemon.log()


def test_methods_and_paths(daemon):
    reply = daemon.delete("/api/sandboxes")
    assert (reply.status_code, reply.json()["code"]) == (405, "method_not_allowed") and reply.headers["Allow"] == "GET, HEAD, POST"
    assert daemon.get("/api/nowhere").json()["code"] == "not_found"
    assert daemon.get("/nowhere").json()["code"] == 404  # what is not ours by its path is E2B's
    assert daemon.get("/api/sandboxes/%ff%fe").status_code == 404
    assert daemon.get("/api/sandboxes/a%2Fb").status_code == 404
    assert daemon.get("/api/sandboxes/", headers={"E2b-Sandbox-Id": "x"}).status_code == 400  # the data plane, without a port
    assert daemon.request("HEAD", "/api/sandboxes").status_code == 200
    for query in ("limit=0", "limit=1001", "limit=1&limit=2", "limit=+1", "cursor=%zz", "state=nope", "cursor=garbage"):
        reply = daemon.get(f"/api/sandboxes?{query}")
        assert reply.status_code == 422 and query.split("=")[0] in reply.json()["detail"], reply.text


def test_a_flood_of_bad_requests_leaves_nothing(daemon):
    def bad(i):
        return requests.post(daemon.url + "/api/sandboxes", data="{", timeout=60).status_code
    with concurrent.futures.ThreadPoolExecutor(32) as pool:
        assert set(pool.map(bad, range(500))) == {422}
    assert daemon.get("/healthz").status_code == 200


def test_when_descriptors_are_short_idle_clients_go_and_then_new_ones_are_turned_away(make_daemon):
    d = make_daemon(start=False)
    d.wrapper = ["sh", "-c", 'ulimit -n 200; exec "$@"', "sh"]
    d.start()
    box = d.create()
    clients, answers = [], []
    for _ in range(300):
        s = socket.create_connection(("127.0.0.1", d.port), timeout=30)
        s.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
        answers.append(status_of(s.recv(200)))
        clients.append(s)
    assert set(answers) == {200, 503} and answers.index(503) > 100
    until(lambda: d.get("/healthz").status_code == 200)  # once clients have been idle for ten seconds they make room
    assert box.exec("echo fine")["stdout"] == "fine\n"
    for s in clients:
        s.close()
    box.delete()
    d.stop()


def settled_descriptors(daemon, program):
    """Once the engine has made anew what it keeps ready for creates, which it does while nothing else is to do."""
    seen = []

    def same():
        seen.append(daemon.open_descriptors(program))
        return len(seen) >= 40 and len(set(seen[-40:])) == 1 and seen[-1]
    return until(same, why=f"{program} does not come to rest: {seen[-40:]}")


def test_nothing_leaks(daemon, module_sandbox):
    """Descriptors and fibers come back to what they were, whatever requests went through."""
    def round_of_everything():
        box = daemon.create()
        box.exec("echo")
        box.try_exec("true", user="nobody-such")
        box.write_file("a", b"x")
        box.try_read_file("none")
        daemon.put(f"{box.path}/files/content?path=%00", data=b"x")
        daemon.open_stream(f"{box.path}/exec", {"command": "sleep 100"}).close()
        daemon.get("/api/events", stream=True).close()
        daemon.get(f"{box.path}/logs?follow=1", stream=True).close()
        requests.get(daemon.url, headers={"Host": f"1-{box.id}.localhost"}, timeout=60)
        daemon.post("/api/sandboxes", data="{")
        daemon.raw(b"GET / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\nConnection: close\r\n\r\nabcde")
        box.delete()

    def fibers():
        return int(float(next(line for line in daemon.get("/metrics").text.splitlines() if line.startswith("sandmux_fibers ")).split()[1]))

    round_of_everything()
    until(lambda: fibers() < 20)
    before, descriptors = fibers(), {p: settled_descriptors(daemon, p) for p in ("sandmux-engine", "sandmux-gateway")}
    for _ in range(20):
        round_of_everything()
    until(lambda: fibers() <= before + 1)
    for program, n in descriptors.items():
        until(lambda program=program, n=n: daemon.open_descriptors(program) <= n + 2, why=f"{program} had {n} descriptors")
