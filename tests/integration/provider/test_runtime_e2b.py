"""The runtime manager over a cloud: one machine for one name, adopted ids, machines that ended unseen, switching, checking before
switching, health, what is refused and with which advice."""
import concurrent.futures
import contextlib
import json
import os
import socket
import subprocess
import threading

import pytest
import requests

import faultproxy as fp
from clouds import KEY, client, cloud, cloud_ids, e2b_env  # noqa: F401 (fixtures)
from conftest import BUILD, clean_env, until

pytestmark = pytest.mark.root


def make_at(cloud, **body):
    """A sandbox that somebody else made at the cloud, by its own protocol."""
    reply = cloud.post("/v2/sandboxes", json={"templateID": "base", **body}, headers={"X-API-KEY": KEY})
    assert reply.status_code == 201, reply.text
    return reply.json()["sandboxID"]


# --- get or start

def test_many_at_once_get_one_machine(client, cloud):
    """16 threads, and 4 processes of their own, ask for one name."""
    before = cloud_ids(cloud)
    command = ["curl", "-s", "-X", "PUT", "-H", "Content-Type: application/json", "-d", "{}", f"{client.url}/api/sandboxes/crowd"]
    started = [subprocess.Popen(command, stdout=subprocess.PIPE) for _ in range(4)]
    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        replies = list(pool.map(lambda _: client.put("/api/sandboxes/crowd", json={}), range(16)))
    ids = {json.loads(process.communicate(timeout=60)[0])["id"] for process in started}
    assert {r.status_code for r in replies} <= {200, 201}
    assert len(ids | {r.json()["id"] for r in replies}) == 1
    assert len(set(cloud_ids(cloud)) - set(before)) == 1
    assert client.delete("/api/sandboxes/crowd").status_code == 204


def test_a_provider_id_is_adopted(client, cloud):
    theirs = make_at(cloud, timeout=600)
    reply = client.put(f"/api/sandboxes/{theirs}", json={})
    assert reply.status_code == 200, reply.text
    assert reply.json()["provider_id"] == theirs and theirs in reply.json()["aliases"] and reply.json()["id"] != theirs
    assert client.get(f"/api/sandboxes/{theirs}").json()["id"] == reply.json()["id"]
    result = client.post(f"/api/sandboxes/{theirs}/exec", json={"command": "echo mine"})
    assert result.json()["stdout"] == "mine\n"
    assert client.put(f"/api/sandboxes/{theirs}", json={}).json()["id"] == reply.json()["id"]
    assert client.delete(f"/api/sandboxes/{theirs}").status_code == 204
    assert theirs not in cloud_ids(cloud)


def test_a_paused_one_is_adopted_and_resumed(client, cloud):
    theirs = make_at(cloud, timeout=600)
    assert cloud.post(f"/sandboxes/{theirs}/pause", headers={"X-API-KEY": KEY}).status_code == 204
    reply = client.put(f"/api/sandboxes/{theirs}", json={})
    assert (reply.status_code, reply.json()["state"]) == (200, "running")
    assert client.delete(f"/api/sandboxes/{theirs}").status_code == 204


def test_one_of_another_sandmux_is_not_taken(client, cloud, make_daemon):
    other = make_daemon(env=e2b_env(cloud.url))
    box = other.create()
    reply = client.put(f"/api/sandboxes/{box.get()['provider_id']}", json={})
    assert (reply.status_code, reply.json()["code"]) == (409, "conflict")
    box.delete()


def test_an_unknown_id_is_made_under_that_name(client):
    name = "i" + "0" * 20
    reply = client.put(f"/api/sandboxes/{name}", json={})
    assert reply.status_code == 201 and reply.json()["name"] == name
    assert client.delete(f"/api/sandboxes/{name}").status_code == 204


def test_one_that_ended_unseen_is_made_again(client, cloud):
    first = client.put("/api/sandboxes/ended", json={}).json()
    assert cloud.delete(f"/api/sandboxes/{first['provider_id']}").status_code == 204
    again = client.put("/api/sandboxes/ended", json={})
    assert (again.status_code, again.json().get("recreated")) == (201, True)
    assert again.json()["provider_id"] != first["provider_id"]
    assert client.delete("/api/sandboxes/ended").status_code == 204


def test_the_data_plane_notices_an_end(client, cloud):
    box = client.create()
    assert cloud.delete(f"/api/sandboxes/{box.get()['provider_id']}").status_code == 204
    assert box.try_exec("true").status_code in (404, 409, 502, 503)
    until(lambda: client.get(box.path).status_code == 404, 30)


def test_an_expired_one_is_made_again_and_says_so(client):
    assert client.put("/api/sandboxes/brief", json={"timeout_s": 1}).status_code == 201
    until(lambda: client.get("/api/sandboxes/brief").status_code == 404, 30)
    again = client.put("/api/sandboxes/brief", json={})
    assert (again.status_code, again.json().get("recreated")) == (201, True)
    assert client.delete("/api/sandboxes/brief").status_code == 204


# --- lifetime at the cloud

def end_at(cloud, provider_id):
    return cloud.get(f"/sandboxes/{provider_id}", headers={"X-API-KEY": KEY}).json()["endAt"]


def test_a_sandbox_ends_at_the_cloud_without_us(client, cloud, make_daemon):
    d = make_daemon(env=e2b_env(cloud.url))
    theirs = d.create(timeout_s=4).info["provider_id"]
    d.kill_all()
    until(lambda: theirs not in cloud_ids(cloud), 30)


def test_the_time_out_is_extended_on_use_and_coalesced(cloud, make_daemon):
    proxy = fp.FaultProxy(cloud.port)
    d = make_daemon("--default-lifetime", "20", env=e2b_env(proxy.url, cloud.url))
    box = d.create()
    theirs = box.get()["provider_id"]
    before = end_at(cloud, theirs)
    for _ in range(30):
        box.exec("true")
    until(lambda: end_at(cloud, theirs) > before, 30)
    extensions = [r for r in proxy.requests if r[1].endswith("/timeout")]
    assert 1 <= len(extensions) <= 10
    box.delete()
    d.stop()
    proxy.close()


def test_no_end_is_kept_alive(client, cloud):
    box = client.create(timeout_s=0)
    assert box.get()["expires_at"] is None
    assert end_at(cloud, box.get()["provider_id"]) is not None  # if we are gone for good, so is it
    box.delete()


def test_pause_instead_of_the_end(client, cloud):
    """Asked for at the E2B door of the first, which has its sandboxes at the second."""
    made = client.post("/v2/sandboxes", json={"templateID": "base", "timeout": 2, "autoPause": True}, headers={"X-API-KEY": KEY})
    assert made.status_code == 201, made.text
    here = client.get(f"/api/sandboxes/{made.json()['sandboxID']}").json()
    assert here["runtime"] == "e2b"
    until(lambda: client.get(f"/api/sandboxes/{here['id']}").json()["state"] == "paused", 30)
    assert cloud.get(f"/api/sandboxes/{here['provider_id']}").json()["state"] == "paused"
    assert client.put(f"/api/sandboxes/{here['id']}", json={}).json()["state"] == "running"
    assert client.delete(f"/api/sandboxes/{here['id']}").status_code == 204


def test_pause_at_the_end_needs_nobody(cloud, make_daemon):
    """The cloud was told: it pauses although we are gone."""
    d = make_daemon(env=e2b_env(cloud.url))
    made = d.post("/v2/sandboxes", json={"templateID": "base", "timeout": 3, "autoPause": True}, headers={"X-API-KEY": KEY}).json()
    theirs = d.get(f"/api/sandboxes/{made['sandboxID']}").json()["provider_id"]
    d.kill_all()
    until(lambda: cloud.get(f"/api/sandboxes/{theirs}").json()["state"] == "paused", 30)
    assert cloud.delete(f"/api/sandboxes/{theirs}").status_code == 204


def test_the_proxy_of_the_environment_is_used(cloud, make_daemon):
    proxy = fp.FaultProxy(cloud.port)
    d = make_daemon(env=e2b_env(cloud.url, http_proxy=proxy.url, no_proxy=""))
    assert d.get("/api/runtime/validate/e2b?live=1").json()["live"]["ok"]
    assert proxy.requests and proxy.requests[0][1].startswith(cloud.url)
    d.stop()
    proxy.close()


# --- restart

def test_sandboxes_are_there_after_a_restart(cloud, make_daemon):
    d = make_daemon(env=e2b_env(cloud.url))
    box = d.create(name="stays")
    box.write_file("kept", b"bytes")
    endless = d.create(timeout_s=0).get()["provider_id"]
    before = end_at(cloud, endless)
    d.stop()
    d.start()
    until(lambda: end_at(cloud, endless) > before, 30)  # it is kept alive by us, still
    assert box.read_file("kept") == b"bytes"
    assert d.put("/api/sandboxes/stays", json={}).json()["id"] == box.id
    d.delete_all()


def test_a_start_does_not_wait_for_a_cloud_that_is_away(make_daemon):
    d = make_daemon(env=e2b_env("http://127.0.0.1:9"))
    assert d.get("/healthz").status_code == 200
    health = d.get("/api/runtime/health").json()
    assert (health["status"], health["reachable"], health["error_code"]) == ("unhealthy", False, "provider_unavailable")
    assert d.get("/api/runtime/health?strict=1").status_code == 503
    reply = d.post("/api/sandboxes", json={})
    assert (reply.status_code, reply.json()["code"]) == (502, "provider_unavailable")
    assert d.post("/api/sandboxes", json={"runtime": "local"}).status_code == 201
    d.delete_all()


# --- switch

def switch(daemon, to, query=""):
    return daemon.post(f"/api/runtime/switch{query}", json={"runtime": to})


@pytest.fixture
def both(cloud, make_daemon):
    return make_daemon(env=e2b_env(cloud.url, SANDBOX_RUNTIME="local"))


def test_existing_sandboxes_keep_their_runtime(both):
    old = both.create()
    reply = switch(both, "e2b")
    assert reply.json()["previous_runtime"] == "local" and reply.json()["current_runtime"] == "e2b"
    assert "1 sandbox stays on local" in reply.text
    new = both.create()
    assert (old.get()["runtime"], new.get()["runtime"]) == ("local", "e2b")
    assert old.exec("echo old")["stdout"] == "old\n" and new.exec("echo new")["stdout"] == "new\n"
    both.delete_all()


def test_a_switch_holds_until_the_setting_changes(both):
    assert switch(both, "e2b").status_code == 200
    both.stop()
    both.start()
    assert both.get("/api/runtime/status").json()["current_runtime"] == "e2b"
    both.stop()
    both.env["SANDBOX_RUNTIME"] = "e2b"
    both.start()
    both.stop()
    both.env["SANDBOX_RUNTIME"] = "local"
    both.start()
    status = both.get("/api/runtime/status").json()
    assert (status["current_runtime"], status["why"]) == ("local", "setting")


def test_a_switch_is_checked_before_it_is_made(cloud, make_daemon):
    proxy = fp.FaultProxy(cloud.port)
    d = make_daemon(env=e2b_env(proxy.url, cloud.url, SANDBOX_RUNTIME="local"))
    proxy.break_next(fp.refuse(401))
    refused = switch(d, "e2b", "?live=1")
    assert refused.status_code >= 400 and "E2B_API_KEY" in refused.text and KEY not in refused.text
    assert d.get("/api/runtime/status").json()["current_runtime"] == "local"
    tried = switch(d, "e2b", "?dry_run=1")
    assert tried.status_code == 200 and d.get("/api/runtime/status").json()["current_runtime"] == "local"
    assert switch(d, "e2b", "?live=1&force=1").status_code == 200
    assert d.get("/api/runtime/status").json()["current_runtime"] == "e2b"
    d.stop()
    proxy.close()


def test_mutations_are_audited(both):
    box = both.create()
    box.delete()
    switch(both, "e2b")
    switch(both, "daytona")
    text = both.log()
    lines = [line for line in text.splitlines() if "audit" in line]
    assert [line for line in lines if "switch" in line and "from=local" in line and "to=e2b" in line and "result=ok" in line]
    assert [line for line in lines if "to=daytona" in line and "result=runtime_not_configured" in line]
    assert [line for line in lines if "op=create" in line and box.id in line and "result=ok" in line]
    assert [line for line in lines if "op=delete" in line and box.id in line and "result=ok" in line]


def test_switches_and_creates_at_once_use_one_runtime_each(both):
    stop = threading.Event()

    def back_and_forth():
        while not stop.is_set():
            switch(both, "e2b")
            switch(both, "local")

    switching = [threading.Thread(target=back_and_forth) for _ in range(2)]
    for thread in switching:
        thread.start()
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        replies = list(pool.map(lambda _: both.post("/api/sandboxes", json={}), range(12)))
    stop.set()
    for thread in switching:
        thread.join()
    assert {r.status_code for r in replies} == {201}
    assert {r.json()["runtime"] for r in replies} <= {"local", "e2b"}
    both.delete_all()


def test_every_process_sees_a_switch_at_once(both):
    assert switch(both, "e2b").status_code == 200
    seen = subprocess.run([BUILD / "sandmux", "--json", "status"], env=clean_env(SANDMUX_URL=both.url), capture_output=True, text=True, timeout=60)
    assert '"current_runtime":"e2b"' in seen.stdout.replace(" ", ""), seen


# --- what is refused, and the advice

def test_daytona_is_known_and_not_configured(both):
    refused = switch(both, "daytona")
    assert (refused.status_code, refused.json()["detail"]) == (400, "Runtime 'daytona' is not properly configured")
    valid = both.get("/api/runtime/validate/daytona").json()
    assert not valid["is_configured"] and valid["missing"] == ["DAYTONA_API_KEY", "DAYTONA_SERVER_URL", "DAYTONA_TARGET"]
    created = both.post("/api/sandboxes", json={"runtime": "daytona"})
    assert created.json()["code"] == "runtime_not_configured" and "environment variables" in created.json()["hint"]
    health = both.get("/api/runtime/health?runtime=daytona").json()
    assert (health["status"], health["configured"], health["error_code"]) == ("unhealthy", False, "runtime_not_configured")


def test_a_wrong_key_has_its_advice(cloud, make_daemon):
    proxy = fp.FaultProxy(cloud.port)
    proxy.break_next(fp.refuse(401, body=b'{"code":401,"message":"Invalid API key"}'))
    d = make_daemon(env=e2b_env(proxy.url, cloud.url))
    health = d.get("/api/runtime/health").json()
    assert (health["configured"], health["status"], health["error_code"]) == (True, "unhealthy", "e2b_api_key_invalid")
    created = d.post("/api/sandboxes", json={})
    assert created.json()["code"] == "e2b_api_key_invalid" and "billing" in created.json()["hint"]
    d.stop()
    proxy.close()


@pytest.mark.parametrize("env", [{"E2B_API_URL": "ftp://x"}, {"E2B_API_URL": "http://"}, {"E2B_SANDBOX_URL": "http://h/path"}, {"E2B_DOMAIN": "a b"},
                                 {"E2B_API_KEY": "two words"}])
def test_a_setting_that_makes_no_sense_is_named(cloud, make_daemon, env):
    d = make_daemon(env=e2b_env(cloud.url, **env))
    reply = d.post("/api/sandboxes", json={})
    assert reply.status_code >= 400 and list(env)[0] in reply.text, reply.text
    assert list(env)[0] in d.get("/api/runtime/validate/e2b").text


def free_port():
    """Below those that connections get: nobody takes it by chance before the daemon does."""
    for port in range(20000 + os.getpid() % 5000, 32768):
        with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port


def test_a_provider_that_is_ourselves_is_found(make_daemon):
    port = free_port()
    d = make_daemon("--listen", f"127.0.0.1:{port}", env=e2b_env(f"http://127.0.0.1:{port}", SANDBOX_RUNTIME="local"))
    live = d.get("/api/runtime/validate/e2b?live=1").json()["live"]
    assert (live["ok"], live["error_code"]) == (False, "runtime_loops_to_self") and "elsewhere" in live["hint"]
    refused = switch(d, "e2b", "?live=1")
    assert refused.status_code >= 400
    assert d.post("/api/sandboxes", json={"runtime": "e2b"}).json()["code"] == "runtime_loops_to_self"


def test_probes_are_shared(cloud, make_daemon):
    proxy = fp.FaultProxy(cloud.port)
    d = make_daemon(env=e2b_env(proxy.url, cloud.url))
    all_wait = threading.Event()

    def hold(client, request, forward):
        all_wait.wait(60)
        return forward()

    def probes():
        return [r for r in proxy.requests if "limit=1" in r[1] and "limit=100" not in r[1]]

    def connections():
        text = requests.get(d.url + "/metrics", timeout=60).text
        return float(next(line.split()[1] for line in text.splitlines() if line.startswith("sandmux_http_connections ")))

    assert probes() == []
    proxy.break_next(hold, fp.method("GET", "/sandboxes"))
    with concurrent.futures.ThreadPoolExecutor(20) as pool:
        replies = [pool.submit(lambda: requests.get(d.url + "/api/runtime/health", timeout=60).json()) for _ in range(20)]
        until(lambda: probes() and connections() > 20)
        all_wait.set()
        statuses = {r.result()["status"] for r in replies}
    assert len(probes()) == 1 and statuses <= {"healthy", "degraded"}
    d.stop()
    proxy.close()
