"""What is answered in front of a sandbox when it does not work, word for word where E2B's clients compare (reports 9 and 14)."""
import threading
import time

import pytest
import requests

from conftest import until
from dataplane import ENVD, ask, envelopes, fields, host_of, open_command, rpc, run, signed_url, token_of

pytestmark = pytest.mark.root

NOT_FOUND = "The sandbox was not found"
CLOSED = "The sandbox is running but port is not open"


def is_gone(reply, sandbox_id):
    assert reply.status_code == 502, (reply.status_code, reply.text)
    assert reply.json() == {"sandboxId": sandbox_id, "message": NOT_FOUND, "code": 502}
    return True


class Nobody:
    id = "i00000000000000000000"

    def __init__(self, daemon):
        self.daemon = daemon


@pytest.mark.parametrize("by", ("fields", "host"))
@pytest.mark.parametrize("token", (False, "x"))
def test_unknown_sandboxes(daemon, by, token):
    nobody = Nobody(daemon)
    is_gone(ask(nobody, "GET", "/health", by=by, token=token), nobody.id)
    is_gone(rpc(nobody, "process.Process/List", {}, by=by, token=token), nobody.id)
    is_gone(ask(nobody, "GET", "/files", by=by, token=token), nobody.id)
    is_gone(ask(nobody, "GET", "/", port=3000, token=token), nobody.id)


def test_killed_ones(daemon):
    box = daemon.create()
    token = token_of(box)
    assert ask(box, "GET", "/health", token=token).status_code == 204
    box.delete()
    for by in ("fields", "host"):
        is_gone(ask(box, "GET", "/health", by=by, token=token), box.id)
        is_gone(rpc(box, "process.Process/Start", {}, by=by, token=token), box.id)
    is_gone(ask(box, "GET", "/", port=3000, token=token), box.id)


def test_paused_and_stopped_ones_come_back(daemon):
    box = daemon.create()
    token = token_of(box)
    try:
        run(box, "echo kept >~/kept", token=token)
        for verb in ("pause", "stop"):
            assert daemon.post(f"{box.path}/{verb}").status_code in (200, 202, 204)
            is_gone(ask(box, "GET", "/health", token=token), box.id)
            is_gone(rpc(box, "process.Process/List", {}, token=token), box.id)
            is_gone(ask(box, "GET", "/", port=3000, token=token), box.id)
            is_gone(requests.get(signed_url(box, "kept", token=token), timeout=60), box.id)
            assert daemon.post(f"{box.path}/start").status_code in (200, 202, 204)
            assert run(box, "cat ~/kept; id -un", token=token) == (b"kept\nuser\n", 0)
    finally:
        box.delete()


def test_closed_ports(module_sandbox):
    box = module_sandbox
    reply = ask(box, "GET", "/", port=3999)
    assert reply.status_code == 502 and reply.headers["Content-Type"].startswith("application/json")
    assert reply.json() == {"sandboxId": box.id, "message": CLOSED, "port": 3999, "code": 502}
    by_host = ask(box, "GET", "/", port=3999, by="host", token=False)
    assert by_host.status_code == 502 and by_host.json()["message"] == CLOSED and by_host.json()["port"] == 3999
    assert by_host.json()["code"] == "port_closed" and by_host.headers["X-Sandmux-Error"] == "port_closed"


# The kernel counts what was refused.
LATE = r"""
import socket, sys, time
def refused():
    names, values = [line.split() for line in open("/proc/net/snmp") if line.startswith("Tcp:")]
    return int(values[names.index("AttemptFails")])
before = refused()
open(f"/tmp/late-{sys.argv[1]}", "w").close()
while refused() == before: time.sleep(0.001)
c = socket.create_server(("127.0.0.1", int(sys.argv[1]))).accept()[0]
c.recv(9999)
c.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
"""


def test_a_port_that_opens_in_a_moment(module_sandbox):
    """The proxy tries again for a short while: a server that was just started need not be waited for. This one opens its port when
    the first try has been refused, so an answer is one to a later try."""
    box = module_sandbox
    box.write_file("/tmp/late.py", LATE.encode())
    statuses = set()
    for port in range(3200, 3205):
        box.exec(f"python3 /tmp/late.py {port} >/dev/null 2>&1 &")
        until(lambda port=port: box.exec(f"test -e /tmp/late-{port}")["exit_code"] == 0)
        statuses.add(ask(box, "GET", "/", port=port).status_code)
    assert 200 in statuses  # on a busy machine not each of them


def test_field_report_14_an_app_that_says_nothing(module_sandbox):
    box = module_sandbox
    box.exec("python3 -c 'import socket\ns = socket.create_server((\"127.0.0.1\", 3300))\nwhile 1: s.accept()[0].close()' >/dev/null 2>&1 &")
    until(lambda: ask(box, "GET", "/", port=3300).headers["X-Sandmux-Error"] == "connection_closed")
    reply = ask(box, "GET", "/", port=3300)
    assert reply.status_code == 502 and reply.json()["message"] == "the server on port 3300 closed the connection without an answer"
    assert reply.json()["code"] == 502 and reply.json()["sandboxId"] == box.id


def test_browsers_get_a_page(daemon, module_sandbox):
    page = {"Accept": "text/html,application/xhtml+xml"}
    for box, port in ((module_sandbox, 3999), (Nobody(daemon), 3000), (Nobody(daemon), ENVD)):
        reply = ask(box, "GET", "/", port=port, by="host", token=False, headers=page)
        assert reply.status_code == 502 and reply.headers["Content-Type"].startswith("text/html") and "<h1>" in reply.text


def test_what_looks_like_a_browser_gets_a_page_and_a_script_in_one_does_not(daemon):
    browser = {"User-Agent": "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36"}
    for more, kind in (({"Accept": "*/*"}, "text/html"), ({"Accept": None}, "text/html"), ({"Accept": "application/json"}, "application/json"),
                       ({"Accept": "*/*", "Sec-Fetch-Mode": "cors"}, "application/json"), ({"Accept": "*/*", "User-Agent": "curl/7.88"}, "application/json")):
        reply = ask(Nobody(daemon), "GET", "/health", by="host", token=False, headers={**browser, **more})
        assert reply.status_code == 502 and reply.headers["Content-Type"].startswith(kind), (more, reply.headers)


def test_a_request_that_cannot_be_read_is_answered_with_a_message(daemon, module_sandbox):
    """Nobody knows whose client sent it: E2B's show the member message, ours detail."""
    reply = requests.get(daemon.url + "/health", headers={**fields(module_sandbox), "X-Long": "a" * 100_000}, timeout=60)
    assert reply.status_code == 431 and reply.json()["message"] == reply.json()["detail"] != ""


def cut(stream):
    """True when a stream broke off instead of ending."""
    try:
        for _ in stream:
            pass
    except (requests.exceptions.ChunkedEncodingError, requests.exceptions.ConnectionError, AssertionError):
        return True
    return False


def started(reply):
    stream = envelopes(reply)
    assert "start" in next(stream)[1]["event"]
    return stream


def test_a_sandbox_killed_under_open_streams(daemon):
    """The streams end at once and without an end message; then /health says it is gone: that is how clients know."""
    box = daemon.create()
    token = token_of(box)
    streams = [started(open_command(box, "sleep 1000", token=token)) for _ in range(5)]
    results = []
    threads = [threading.Thread(target=lambda s=stream: results.append(cut(s))) for stream in streams]
    for t in threads:
        t.start()
    box.delete()
    for t in threads:
        t.join(30)
    assert results == [True] * 5
    is_gone(ask(box, "GET", "/health", token=token), box.id)


def test_a_sandbox_that_expires_under_an_open_stream(daemon):
    box = daemon.create()
    token = token_of(box)
    stream = started(open_command(box, "sleep 1000", token=token))
    assert daemon.patch(box.path, json={"timeout_s": 1}).status_code == 200
    assert cut(stream)
    is_gone(ask(box, "GET", "/health", token=token), box.id)  # the very first probe after the break
    until(lambda: daemon.get(box.path).status_code == 404)


def test_health_after_the_end_says_so_soon(daemon):
    box = daemon.create()
    token = token_of(box)
    assert daemon.patch(box.path, json={"timeout_s": 1}).status_code == 200
    until(lambda: ask(box, "GET", "/health", token=token).status_code == 502)
    is_gone(ask(box, "GET", "/health", token=token), box.id)


def test_field_report_9_kill_while_others_look(daemon):
    box = daemon.create()
    token = token_of(box)
    seen, stop = [], threading.Event()

    def look():
        while not stop.is_set():
            reply = ask(box, "GET", "/health", token=token)
            seen.append((reply.status_code, reply.text))
    threads = [threading.Thread(target=look) for _ in range(4)]
    for t in threads:
        t.start()
    until(lambda: seen)
    box.delete()
    until(lambda: seen[-1][0] == 502)
    stop.set()
    for t in threads:
        t.join(60)
    assert {status for status, _ in seen} == {204, 502}
    assert all(NOT_FOUND in text for status, text in seen if status == 502)


def test_use_extends_a_sliding_lifetime_and_no_absolute_one(daemon):
    sliding, absolute = daemon.create(), daemon.create(timeout_s=3600)
    try:
        before = [box.get()["expires_at"] for box in (sliding, absolute)]
        time.sleep(1.1)
        for box in (sliding, absolute):
            run(box, "true")
        after = [box.get()["expires_at"] for box in (sliding, absolute)]
        assert after[0] > before[0] and after[1] == before[1]
    finally:
        sliding.delete()
        absolute.delete()


def test_fields_and_hosts_of_one_sandbox_do_not_mix(daemon, module_sandbox):
    sent = fields(module_sandbox)
    assert requests.get(daemon.url + "/health", headers=sent, timeout=60).status_code == 204
    sent["Host"] = host_of(Nobody(daemon))
    is_gone(requests.get(daemon.url + "/health", headers=sent, timeout=60), Nobody.id)
