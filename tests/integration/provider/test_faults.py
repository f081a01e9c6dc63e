"""Every way a connection to a provider can break: each call ends in time with its own error, and a create that was cut anywhere leaves
one machine or none, never two. Secrets show nowhere."""
import os
import signal
import threading
import time

import pytest

import faultproxy as fp
from clouds import KEY, behind, cloud, cloud_ids, e2b_env, healed, ids_here, proxy  # noqa: F401 (fixtures)
from conftest import processes, until

pytestmark = [pytest.mark.root, pytest.mark.usefixtures("healed")]

SOON_S = 25  # a bound against hangs

# fault, what a look says of it
LOOKS = [
    (fp.close_before, {"connection_closed"}),
    (fp.close_after, {"connection_closed"}),
    (fp.reset, {"connection_closed"}),
    (fp.cut_at(1), {"connection_closed", "protocol_error"}),
    (fp.cut_at(20), {"connection_closed"}),
    (fp.cut_at(-1), {"connection_closed"}),
    (fp.wrong_length, {"connection_closed"}),
    (fp.too_short_length, {"protocol_error"}),
    (fp.garbage, {"protocol_error"}),
    (fp.endless_head, {"protocol_error"}),
    (fp.huge, {"protocol_error"}),
    (fp.silent, {"timeout"}),
    (fp.answer(b"{}"), {"protocol_error"}),
    (fp.answer(b"[{}]"), {"protocol_error"}),
    (fp.answer(b'[{"sandboxID":5}]'), {"protocol_error"}),
    (fp.answer(b"[]", "text/html"), {"protocol_error"}),
    (fp.answer(b"<html>"), {"protocol_error"}),
    (fp.refuse(401), {"e2b_api_key_invalid"}),
    (fp.refuse(403), {"e2b_api_key_invalid"}),
    (fp.refuse(402), {"quota_exceeded"}),
    (fp.refuse(429), {"rate_limited"}),
    (fp.refuse(429, body=b'{"code":429,"message":"maximum number of concurrent sandboxes"}'), {"quota_exceeded"}),
    (fp.refuse(500), {"provider_unavailable"}),
    (fp.refuse(502), {"provider_unavailable"}),
    (fp.refuse(503, 9999), {"provider_unavailable"}),
    (fp.refuse(504), {"timeout"}),
    (fp.refuse(508), {"runtime_loops_to_self"}),
    (fp.refuse(302), {"protocol_error"}),
]


@pytest.mark.parametrize("fault,codes", LOOKS, ids=lambda v: getattr(v, "__qualname__", "").split(".")[0] or "")
def test_a_look_says_what_is_wrong(behind, proxy, fault, codes):
    proxy.break_next(fault)
    begun = time.monotonic()
    live = behind.get("/api/runtime/validate/e2b?live=1").json()["live"]
    assert time.monotonic() - begun < SOON_S
    assert not live["ok"] and live["error_code"] in codes, live
    assert live["hint"] and KEY not in str(live)


def test_a_server_that_says_when_to_come_back_is_waited_for(behind, proxy):
    proxy.break_next(fp.refuse(503, 1), fp.method("POST", "/sandboxes"), times=2)
    reply = behind.post("/api/sandboxes", json={})
    assert reply.status_code == 201, reply.text


def test_a_template_is_validated(proxy, cloud, make_daemon):
    d = make_daemon(env=e2b_env(cloud.url, E2B_TEMPLATE_ID="never-heard-of"))
    live = d.get("/api/runtime/validate/e2b?live=1").json()["live"]
    assert (live["ok"], live["error_code"]) == (False, "template_not_found")
    assert "E2B_TEMPLATE_ID" in live["hint"] or "template exists" in live["hint"]
    until(lambda: cloud_ids(cloud) == [], why="validating made one")


# --- creates

def settle(behind, cloud):
    """Until both sides agree, which they must on one or none."""
    until(lambda: sorted(cloud_ids(cloud)) == sorted(ids_here(behind)), 60, "both sides do not agree")
    assert len(cloud_ids(cloud)) <= 1
    return len(cloud_ids(cloud))


CUTS = [0, 1, 9, 17, 40, 90, 150, 220, 300, 400, 500, -2, -1]


@pytest.mark.parametrize("fault", [fp.close_before, fp.close_after, fp.reset, fp.garbage, fp.wrong_length, fp.too_short_length, fp.answer(b"{}"),
                                   fp.answer(b'{"sandboxID":"../x","templateID":"t","envdVersion":"1","clientID":"c"}'),
                                   fp.answer(b"[]", "text/html"), fp.endless_head, fp.refuse(500), fp.refuse(504)]
                         + [fp.cut_at(n) for n in CUTS])
def test_a_create_that_is_cut_leaves_one_or_none(behind, cloud, proxy, fault):
    proxy.break_next(fault, fp.method("POST", "/sandboxes"), times=1)
    begun = time.monotonic()
    reply = behind.post("/api/sandboxes", json={"name": "cut"})
    assert time.monotonic() - begun < SOON_S
    proxy.heal()
    if reply.status_code == 201:
        assert behind.post("/api/sandboxes/cut/exec", json={"command": "echo in"}).json()["stdout"] == "in\n"
        assert settle(behind, cloud) == 1
    else:
        assert reply.status_code in (502, 503, 504), reply.text
        assert settle(behind, cloud) == 0


def test_a_create_whose_answer_was_lost_is_found_again(behind, cloud, proxy):
    proxy.break_next(fp.close_after, fp.method("POST", "/sandboxes"), times=1)
    reply = behind.post("/api/sandboxes", json={})
    assert reply.status_code == 201, reply.text
    assert settle(behind, cloud) == 1


def test_nothing_answers_any_more_after_a_create(behind, cloud, proxy):
    """The answer is lost and so is the look for it: what is there is removed when the cloud is back."""
    proxy.break_next(fp.close_after)
    reply = behind.post("/api/sandboxes", json={"name": "lost"})
    assert reply.status_code in (502, 503, 504)
    assert len(cloud_ids(cloud)) == 1
    proxy.heal()
    until(lambda: cloud_ids(cloud) == [], 120, "it is left")
    assert behind.put("/api/sandboxes/lost", json={}).status_code == 201


@pytest.mark.parametrize("when", ["before", "during", "after"])
def test_kill_9_around_a_create(behind, cloud, proxy, when):
    reached, go_on, done = threading.Event(), threading.Event(), threading.Event()

    def hold(client, request, forward):
        if request.method != "POST":  # the look of the gateway that comes back, which is not to overtake the create
            done.wait(60)
            return forward()
        if when == "before":
            reached.set()
            go_on.wait(60)
            done.set()
            return None
        reply = forward() if when == "after" else None
        reached.set()
        go_on.wait(60)
        reply = reply or forward()
        done.set()
        return reply

    def create():
        try:
            behind.post("/api/sandboxes", json={"name": "killed"})
        except OSError:
            pass

    proxy.break_next(hold, lambda request: reached.is_set() or request.method == "POST" and request.path.endswith("/sandboxes"))
    asking = threading.Thread(target=create)
    asking.start()
    assert reached.wait(60)
    os.kill(behind.pid_of("sandmux-gateway"), signal.SIGKILL)
    go_on.set()
    asking.join()
    assert done.wait(60)
    proxy.heal()
    until(lambda: behind.get("/healthz").status_code == 200)
    settle(behind, cloud)
    time.sleep(1)
    assert settle(behind, cloud) == (0 if when == "before" else 1)
    again = behind.put("/api/sandboxes/killed", json={})
    assert again.status_code in (200, 201)
    assert settle(behind, cloud) == 1


# --- other calls

def test_a_provider_that_is_down_keeps_the_record(behind, cloud, proxy):
    box = behind.create(name="kept")
    proxy.break_next(fp.close_before)
    reply = behind.delete(box.path)
    assert reply.status_code in (502, 503, 504) and reply.json()["code"] in ("connection_closed", "provider_unavailable")
    assert behind.get(box.path).status_code == 200
    proxy.heal()
    assert box.exec("echo alive")["stdout"] == "alive\n"
    assert behind.delete(box.path).status_code == 204
    assert cloud_ids(cloud) == []


@pytest.mark.parametrize("verb,path", [("pause", "/pause"), ("resume", "/connect")])
def test_a_lost_answer_to_a_change_is_cleared_up(behind, cloud, proxy, verb, path):
    box = behind.create()
    if verb == "resume":
        assert behind.post(f"{box.path}/pause").status_code == 200
    proxy.break_next(fp.close_after, lambda request: request.path.endswith(path), times=1)
    assert behind.post(f"{box.path}/{verb}").status_code == 200  # it is sent again, which does no harm
    assert box.get()["state"] == {"pause": "paused", "resume": "running"}[verb]
    box.delete()


def test_many_calls_use_one_connection(cloud, make_daemon):
    """And what goes on beside them, a look at what is there or a longer lifetime, one of its own."""
    p = fp.FaultProxy(cloud.port)
    d = make_daemon(env=e2b_env(p.url, cloud.url))
    for _ in range(20):
        assert d.get("/api/runtime/validate/e2b?live=1").json()["live"]["ok"]
    box = d.create()
    box.delete()
    assert len(p.requests) > 40
    assert p.accepted <= 3
    d.stop()
    p.close()


# --- secrets

def test_planted_secrets_show_nowhere(cloud, proxy, make_daemon):
    password, variable = "pl4nted-p4ssword", "pl4nted-v4riable"
    d = make_daemon("--log-level", "debug", env=e2b_env(proxy.url, cloud.url))
    box = d.create(password=password, env={"TOKEN": variable}, project_id="p")
    assert box.exec("printf %s \"$TOKEN\"")["stdout"] == variable
    proxy.break_next(fp.refuse(500, body=b'{"code":500,"message":"your key is %s"}' % KEY.encode()))
    texts = [d.get(path).text for path in ("/api/runtime/status", "/api/runtime/validate/e2b?live=1", "/api/runtime/health", "/metrics",
                                           box.path, "/api/sandboxes")]
    texts.append(d.post("/api/sandboxes", json={}).text)
    proxy.heal()
    metadata = [str(item["metadata"]) for item in cloud.get("/api/sandboxes").json()["items"]]
    token = cloud.get(f"/sandboxes/{box.get()['provider_id']}", headers={"X-API-KEY": KEY}).json().get("envdAccessToken")
    texts += metadata + [d.log(), command_lines()]
    box.delete()
    for secret in (KEY, password, variable, token):
        assert secret and not [text for text in texts if secret in text], secret[:12]
    assert metadata and "sandmux_token" in metadata[0]


def command_lines():

    return "\n".join(line for _, line, _ in processes().values() if "sandmux" in line)
