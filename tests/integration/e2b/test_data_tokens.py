"""E2B's data plane: who may call. Tokens, signed URLs with and without routing, and what never reaches the sandbox (reports 15 and 16)."""
import hashlib
import time
import urllib.parse

import pytest
import requests

from conftest import until
from dataplane import ask, envelope, fields, host_of, rpc, run, signature, signed_url, start_message, token_of

pytestmark = pytest.mark.root

UNAUTHORIZED = "unauthorized access, please provide a valid access token or method signing if supported"
WAYS = ("fields", "host")


def refusal(reply):
    assert reply.status_code == 401, reply.text
    body = reply.json()
    assert set(body) == {"code", "message"} and body["code"] == 401 and reply.headers["Content-Type"].startswith("application/json")
    return body["message"]


@pytest.fixture(scope="module")
def api_key(daemon):
    reply = daemon.post("/api/keys", json={"name": "data-plane"})
    assert reply.status_code == 201, reply.text
    yield reply.json()["key"]
    daemon.delete(f"/api/keys/{reply.json()['id']}")


@pytest.mark.parametrize("by", WAYS)
def test_field_report_15_no_token_a_foreign_one_and_an_api_key(module_sandbox, other_sandbox, api_key, by):
    box, own = module_sandbox, token_of(module_sandbox)
    for token in (False, token_of(other_sandbox), api_key, "", own[:-1], own + "x", own.swapcase(), "x" * 10_000):
        more = {"token": token, "by": by}
        start = ask(box, "POST", "/process.Process/Start", data=envelope(start_message("touch /tmp/owned")),
                    headers={"Content-Type": "application/connect+json"}, **more)
        assert refusal(start) == UNAUTHORIZED
        assert refusal(rpc(box, "filesystem.Filesystem/Stat", {"path": "/"}, **more)) == UNAUTHORIZED
        for path in ("/envs", "/metrics", "/files/compose", "/nothing"):
            assert refusal(ask(box, "GET", path, **more)) == UNAUTHORIZED
        expected = "access token present in header but does not match" if token else "missing signature query parameter"
        assert refusal(ask(box, "GET", "/files", params={"path": "/etc/passwd"}, **more)) == expected
        assert refusal(ask(box, "POST", "/files", params={"path": "/tmp/owned"}, data=b"x", **more)) == expected
        assert ask(box, "GET", "/health", **more).status_code == 204
    assert box.exec("ls /tmp/owned")["exit_code"] != 0
    assert run(box, "echo mine", by=by, token=own) == (b"mine\n", 0)


def test_an_api_key_beside_the_token_changes_nothing(module_sandbox, api_key):
    for key in (api_key, "e2b_0123456789abcdef0123456789abcdef01234567", "", "k" * 10_000, "ends in a space "):
        reply = rpc(module_sandbox, "filesystem.Filesystem/Stat", {"path": "/"}, headers={"X-API-KEY": key, "Authorization": "Bearer " + key.strip()})
        assert reply.status_code == 200, reply.text


def test_field_report_16_required_keys_do_not_stand_in_the_way_of_a_token(make_daemon):
    daemon = make_daemon("--require-keys")
    status, made = daemon.unix_request("POST", "/api/sandboxes", {})
    assert status == 201, made
    _, preview = daemon.unix_request("GET", f"/api/sandboxes/{made['id']}/preview?port=1")

    class Box:
        id = made["id"]
    Box.daemon = daemon
    try:
        assert refusal(rpc(Box, "filesystem.Filesystem/Stat", {"path": "/"}, token=False)) == UNAUTHORIZED
        assert rpc(Box, "filesystem.Filesystem/Stat", {"path": "/"}, token=preview["token"]).status_code == 200
        url = signed_url(Box, "/etc/hostname", token=preview["token"])
        assert requests.get(url, timeout=60).status_code == 200
    finally:
        daemon.unix_request("DELETE", f"/api/sandboxes/{made['id']}")
        daemon.stop()
    assert preview["token"] not in daemon.log()


def test_who_may_not_change_anything_does_not_get_a_token(make_daemon):
    """With RUNTIME_API_TOKEN reading is open and changes are not: a token would let run commands."""
    daemon = make_daemon(env={"RUNTIME_API_TOKEN": "planted-token-77"})
    status, made = daemon.unix_request("POST", "/api/sandboxes", {})
    assert status == 201
    try:
        for path in (f"/api/sandboxes/{made['id']}/preview?port=80", f"/sandboxes/{made['id']}"):
            assert daemon.get(path).status_code == 401
            assert daemon.get(path, headers={"Authorization": "Bearer planted-token-77"}).status_code == 200
        listed = daemon.get("/v2/sandboxes")
        assert listed.status_code == 200 and "oken" not in listed.text
    finally:
        daemon.unix_request("DELETE", f"/api/sandboxes/{made['id']}")
        daemon.stop()


# --- signed URLs

@pytest.fixture(scope="module")
def signed_file(module_sandbox):
    module_sandbox.write_file("/home/user/a b+c%d é.txt", "signed €".encode())
    return module_sandbox, "/home/user/a b+c%d é.txt", "signed €".encode()


def test_signed_urls_without_any_field(signed_file):
    box, path, content = signed_file
    for lifetime in (None, 600):
        url = signed_url(box, path, lifetime=lifetime)
        assert requests.get(url, timeout=60).content == content
        assert requests.get(url, headers={"Range": "bytes=0-5"}, timeout=60).content == content[:6]
        assert requests.get(url, headers={"Host": host_of(box)}, timeout=60).content == content
        assert requests.get(url, headers=fields(box, token=False), timeout=60).content == content
    assert requests.get(signed_url(box, path, user="root"), timeout=60).content == content
    assert requests.get(signed_url(box, path).replace("+", "%20"), timeout=60).content == content


def test_signed_uploads(module_sandbox):
    box = module_sandbox
    for user, owner in (("", "user"), ("root", "root")):
        url = signed_url(box, "up.bin", "write", user, 60)
        reply = requests.post(url, files={"file": ("ignored", b"\x00\xff" * 1000)}, timeout=60)
        assert reply.status_code == 200, reply.text
        home = "/root" if user else "/home/user"
        assert box.exec(f"stat -c '%U %s' {home}/up.bin")["stdout"] == f"{owner} 2000\n"


def test_signatures_that_do_not_hold(daemon, signed_file, other_sandbox):
    box, path, _ = signed_file
    good = signed_url(box, path, lifetime=600)
    query = dict(urllib.parse.parse_qsl(urllib.parse.urlsplit(good).query))

    def get(**changed):
        merged = {k: v for k, v in {**query, **changed}.items() if v is not None}
        return requests.get(f"{daemon.url}/files", params=merged, timeout=60)

    assert get().status_code == 200
    for changed in ({"path": "/etc/shadow"}, {"username": "root"}, {"signature": "v1_" + "A" * 43}, {"signature": query["signature"] + "="},
                    {"signature": query["signature"][3:]}, {"signature": "v2" + query["signature"][2:]}, {"signature_expiration": int(time.time()) + 9999},
                    {"signature_expiration": None}, {"signature": ""}, {"signature": "x" * 9000}):
        assert refusal(get(**changed)) == "invalid signature", changed
    assert refusal(requests.post(f"{daemon.url}/files", params=query, data=b"x", timeout=60)) == "invalid signature"  # it is for reading
    assert refusal(requests.get(good, headers=fields(other_sandbox, token=False), timeout=60)) == "invalid signature"
    assert refusal(requests.get(signed_url(box, path, token="another"), timeout=60)) == "invalid signature"
    assert refusal(requests.get(good, headers={"Host": host_of(box), "X-Access-Token": "wrong"}, timeout=60)) == \
        "access token present in header but does not match"


def test_signatures_that_are_over(signed_file):
    box, path, _ = signed_file
    for lifetime in (-1, -100_000):
        for headers in ({}, fields(box, token=False), {"Host": host_of(box)}):
            assert refusal(requests.get(signed_url(box, path, lifetime=lifetime), headers=headers, timeout=60)) == "signature is already expired"
    forged = signed_url(box, path, lifetime=-100).replace("signature=v1_", "signature=v1_A")
    assert refusal(requests.get(forged, timeout=60)) == "invalid signature"


@pytest.mark.parametrize("query", ["signature=v1_x&signature_expiration=soon", "signature=v1_x&signature_expiration=99999999999999999999",
                                   "signature=a&signature=b", "signature=%zz", "path=a&path=b&signature=v1_x", "signature=%00"])
def test_queries_that_cannot_be_read(daemon, query):
    answer = daemon.raw(f"GET /files?{query} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
    assert answer.startswith(b"HTTP/1.1 400 ") and b'{"code":400,"message":"' in answer


def test_the_signature_of_a_dead_sandbox_is_nobodys(daemon):
    box = daemon.create()
    url = signed_url(box, "/etc/hostname")
    assert requests.get(url, timeout=60).status_code == 200
    box.delete()
    assert refusal(requests.get(url, timeout=60)) == "invalid signature"


def test_a_file_opened_in_a_browser_is_no_page_of_our_site(module_sandbox):
    """Its scripts would run beside our API: the browser is told to give it an origin of its own and run none."""
    module_sandbox.write_file("/home/user/evil.html", b"<script>fetch('/api/sandboxes', {method: 'POST'})</script>")
    reply = requests.get(signed_url(module_sandbox, "evil.html"), timeout=60)
    assert reply.headers["Content-Type"].startswith("text/html") and reply.headers["Content-Security-Policy"] == "sandbox"


# --- pages

def test_pages_of_any_origin_may_call_with_the_token(module_sandbox):
    box = module_sandbox
    page = {"Origin": "https://app.example"}
    preflight = ask(box, "OPTIONS", "/process.Process/Start", token=False, headers={
        **page, "Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "content-type,e2b-sandbox-id,x-access-token"})
    assert preflight.status_code == 204 and preflight.headers["Access-Control-Allow-Origin"] == "*"
    assert "POST" in preflight.headers["Access-Control-Allow-Methods"] and preflight.headers["Access-Control-Max-Age"] == "7200"
    assert "x-access-token" in preflight.headers["Access-Control-Allow-Headers"]
    for reply in (ask(box, "GET", "/health", headers=page), rpc(box, "filesystem.Filesystem/Stat", {"path": "/"}, headers=page),
                  requests.get(signed_url(box, "/etc/hostname"), headers=page, timeout=60), rpc(box, "x.Y/Z", {}, token=False, headers=page)):
        assert reply.headers["Access-Control-Allow-Origin"] == "*", reply.status_code
    assert "Access-Control-Allow-Origin" not in ask(box, "GET", "/health").headers


def test_a_page_may_ask_whether_it_may_name_a_sandbox(daemon):
    """A preflight carries none of the fields that it asks for: that it asks is what says where it belongs."""
    asked = {"Origin": "https://app.example", "Access-Control-Request-Method": "POST"}
    reply = daemon.request("OPTIONS", "/process.Process/Start", headers={**asked, "Access-Control-Request-Headers": "content-type,e2b-sandbox-id,e2b-sandbox-port"})
    assert reply.status_code == 204 and reply.headers["Access-Control-Allow-Origin"] == "*"
    assert "e2b-sandbox-id" in reply.headers["Access-Control-Allow-Headers"]
    for path in ("/process.Process/Start", "/api/sandboxes", "/v2/sandboxes"):
        reply = daemon.request("OPTIONS", path, headers={**asked, "Access-Control-Request-Headers": "content-type"})
        assert "Access-Control-Allow-Origin" not in reply.headers


# --- what the sandbox does not see

ECHO = r"""
import http.server
class H(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        data = (f"target {self.path}\n" + "".join(f"{k.lower()}: {v}\n" for k, v in self.headers.items())).encode()
        self.send_response(200); self.send_header("Content-Length", str(len(data))); self.end_headers(); self.wfile.write(data)
    def log_message(self, *a): pass
http.server.ThreadingHTTPServer(("127.0.0.1", 3100), H).serve_forever()
"""


@pytest.fixture(scope="module")
def echo(module_sandbox):
    module_sandbox.write_file("/tmp/echo.py", ECHO.encode())
    module_sandbox.exec("python3 /tmp/echo.py >/dev/null 2>&1 &")
    until(lambda: ask(module_sandbox, "GET", "/", port=3100).status_code == 200)
    return module_sandbox


@pytest.mark.parametrize("by", WAYS)
def test_no_credential_of_ours_reaches_user_code(echo, api_key, by):
    token = token_of(echo)
    sent = {"X-API-KEY": api_key, "E2B-Traffic-Access-Token": "tt", "X-Sandmux-Token": token, "Cookie": f"a=1; sandmux_token={token}; b=2",
            "Authorization": "Bearer the-app's-own", "X-Own": "kept"}
    seen = ask(echo, "GET", "/", port=3100, by=by, token=token, headers=sent)
    assert seen.status_code == 200, seen.text
    for secret in (token, api_key, "traffic", "x-access-token", "x-api-key", "e2b-sandbox", "x-sandmux"):
        assert secret not in seen.text, seen.text
    assert "cookie: a=1; b=2\n" in seen.text and "authorization: Bearer the-app's-own\n" in seen.text and "x-own: kept\n" in seen.text


@pytest.mark.parametrize("query,left", [("?sandmux_token={}", "/x"), ("?a=1&sandmux_token={}&b=%2F+2", "/x?a=1&b=%2F+2"), ("?%73andmux_token={}&c", "/x?c"),
                                        ("?a=1&sandmux_token=the-app's", "/x?a=1&sandmux_token=the-app's")])
def test_a_token_in_the_query_does_not_reach_user_code(echo, query, left):
    """From this host none is needed, but a preview URL may bring one."""
    reply = requests.get(f"{echo.daemon.url}/x{query.format(token_of(echo))}", headers={"Host": host_of(echo, 3100)}, timeout=60)
    assert reply.status_code == 200 and reply.text.startswith(f"target {left}\n"), reply.text
    assert token_of(echo) not in reply.text


def test_a_key_of_ours_as_bearer_does_not_reach_user_code(echo, api_key):
    seen = ask(echo, "GET", "/", port=3100, by="host", token=False, headers={"Authorization": f"Bearer {api_key}"})
    assert seen.status_code == 200 and "authorization" not in seen.text


def test_an_app_keeps_fields_of_the_same_names(echo):
    seen = ask(echo, "GET", "/", port=3100, by="host", token=False, headers={"X-API-KEY": "the app's", "X-Access-Token": "its too", "Cookie": "c=3"})
    assert "x-api-key: the app's\n" in seen.text and "x-access-token: its too\n" in seen.text and "cookie: c=3\n" in seen.text


def test_tokens_and_signatures_are_in_no_log(daemon, module_sandbox):
    token = token_of(module_sandbox)
    url = signed_url(module_sandbox, "/etc/hostname")
    rpc(module_sandbox, "filesystem.Filesystem/Stat", {"path": "/"})
    requests.get(url, timeout=60)
    log = daemon.log()
    assert "frontend=e2b-data" in log and token not in log and signature(token, "/etc/hostname")[3:20] not in log
    assert hashlib.sha256(token.encode()).hexdigest() not in log
