"""The Connect protocol and plain HTTP around the calls: each case is one that E2B's envd was observed to answer."""
import json

import pytest
from agentclient import Result, agent, envelope  # noqa: F401 (agent is a fixture)

START, LIST = "/process.Process/Start", "/process.Process/List"


def post(agent, path, body, **headers):
    return agent.request("POST", path, body, {k.replace("_", "-"): v for k, v in headers.items()})


@pytest.mark.parametrize("kind", ["application/json", "text/plain", "application/proto", "application/grpc",
                                  "application/connect+jsonx", "application/connect+proto; charset=utf-8", ""])
def test_start_wrong_content_type(agent, kind):
    status, headers, body = post(agent, START, b"{}", Content_Type=kind)
    assert status == 415 and body == b"" and "application/connect+json" in headers["accept-post"]


@pytest.mark.parametrize("kind", ["application/connect+json", "text/plain", "application/connect+proto", "application/jsonp",
                                  "application/protobuf"])
def test_list_wrong_content_type(agent, kind):
    status, headers, body = post(agent, LIST, b"{}", Content_Type=kind)
    assert status == 415 and body == b"" and "application/json" in headers["accept-post"]


def test_list_no_content_type(agent):
    assert agent.request("POST", LIST, b"{}")[0] == 415


def test_start_charset(agent):
    s = agent.open(START, {"process": {"cmd": "true"}}, headers={"Content-Type": "application/connect+json; charset=utf-8"})
    assert s.status == 200 and s.type == "application/connect+json; charset=utf-8"
    assert Result(s).code == 0


def test_start_as_the_newest_sdk_sends_it(agent):
    body = envelope(json.dumps({"process": {"cmd": "/bin/bash", "args": ["-l", "-c", "echo $0"]}}).encode())
    c = agent.connect()
    c.request("POST", START, iter([body[:3], body[3:9], body[9:]]), {
        "content-type": "application/connect+json", "connect-protocol-version": "1", "connect-timeout-ms": "60000",
        "keepalive-ping-interval": "50", "content-encoding": "identity"}, encode_chunked=True)
    r = c.getresponse()
    assert r.status == 200 and b'"stdout":' in r.read()
    c.close()


@pytest.mark.parametrize("path", [START, LIST, "/filesystem.Filesystem/Stat"])
def test_get_of_a_call(agent, path):
    status, headers, body = agent.request("GET", path)
    assert (status, headers["allow"], body) == (405, "POST", b"")


def test_list_protocol_version_2(agent):
    status, reply = agent.unary(LIST, {}, Connect_Protocol_Version="2")
    assert (status, reply) == (400, {"code": "invalid_argument",
                                     "message": 'Connect-Protocol-Version must be "1": got "2"'})
    assert agent.unary(LIST, {}, Connect_Protocol_Version="1") == (200, {})


@pytest.mark.parametrize("coding", ["br", "deflate", "gzip, br"])
def test_list_encoding(agent, coding):
    status, reply = agent.unary(LIST, {}, Content_Encoding=coding)
    assert (status, reply["code"]) == (501, "unimplemented")
    assert reply["message"] == f'unknown compression "{coding}": supported encodings are gzip'


def test_list_accept_encoding_gzip(agent):
    assert agent.unary(LIST, {}, Accept_Encoding="gzip") == (200, {})


@pytest.mark.parametrize("method,path", [("POST", "/process.Process/Nosuch"), ("POST", "/nosuch.Service/List"),
                                         ("POST", "/filesystem.Filesystem/Nosuch"), ("GET", "/nosuch"), ("GET", "/"),
                                         ("POST", "/process.Process/List/")])
def test_unknown_path(agent, method, path):
    status, headers, body = agent.request(method, path, b"")
    assert (status, body) == (404, b"404 page not found\n")


def test_health(agent):
    status, headers, body = agent.request("GET", "/health")
    assert (status, body, headers["cache-control"]) == (204, b"", "no-store")
    status, headers, body = agent.request("POST", "/health", b"")
    assert (status, headers["allow"], body) == (405, "GET", b"")


@pytest.mark.parametrize("method", ["DELETE", "HEAD", "PUT", "PATCH"])
def test_files_other_methods(agent, method):
    status, headers, body = agent.request(method, "/files?path=/etc/hostname")
    assert status == 405 and body == b"" and "POST" in headers["allow"]


def test_metrics(agent):
    status, headers, body = agent.request("GET", "/metrics")
    m = json.loads(body)
    assert status == 200 and headers["content-type"] == "application/json" and headers["cache-control"] == "no-store"
    assert set(m) == {"ts", "cpu_count", "cpu_used_pct", "mem_total_mib", "mem_used_mib", "mem_total", "mem_used",
                      "mem_cache", "disk_used", "disk_total"}
    assert m["cpu_count"] >= 1 and 0 <= m["cpu_used_pct"] <= 100 and 0 < m["mem_used"] < m["mem_total"]
    assert 0 < m["disk_used"] <= m["disk_total"]


def test_requests_on_one_connection(agent):
    c = agent.connect()
    for i in range(20):
        c.request("POST", START, envelope(b'{"process":{"cmd":"true"},"stdin":false}'),
                  {"Content-Type": "application/connect+json"})
        assert b"exit status 0" in c.getresponse().read()
        c.request("POST", LIST, b"{}", {"Content-Type": "application/json"})
        assert c.getresponse().read() == b"{}"
    c.close()


def test_bad_http_is_refused_and_the_agent_lives(agent):
    for raw in (b"\0\0\0\0", b"GET /\r\n\r\n", b"POST /files HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
                b"GET / HTTP/9.9\r\nHost: x\r\n\r\n", b"G" * 200000):
        c = agent.connect()
        c.connect()
        try:
            c.sock.sendall(raw)
            answer = c.sock.recv(65536)
            assert answer.startswith(b"HTTP/1.1 4") or answer.startswith(b"HTTP/1.1 5")
        except ConnectionError:
            pass
        c.close()
    assert agent.healthy()


@pytest.mark.parametrize("value", ["Basic", "Basic !!!", "Basic bm9jb2xvbg==", "Basic " + "QUFB" * 60])
def test_authorization_that_cannot_be_read(agent, value):
    status, reply = agent.unary(LIST, {}, Authorization=value)
    assert status == 200  # a call that needs no user does not look at it
    status, reply = agent.unary("/filesystem.Filesystem/Stat", {"path": "/"}, user=None, Authorization=value)
    assert status in (200, 401)
