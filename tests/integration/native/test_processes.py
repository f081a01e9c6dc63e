"""processes, preview, logs, stats: looking at a sandbox."""
import json
import threading

import pytest

from conftest import until

pytestmark = pytest.mark.root


def listed(box):
    return {p["pid"]: p for p in box.daemon.get(f"{box.path}/processes").json()["processes"]}


def test_a_running_command_is_listed_and_can_be_signalled(daemon, sandbox):
    stream = daemon.open_stream(f"{sandbox.path}/exec", {"command": ["sleep", "1000"]})
    lines = stream.iter_lines()
    pid = json.loads(next(lines))["start"]["pid"]
    assert pid in listed(sandbox) and listed(sandbox)[pid]["cmd"].endswith("sleep")
    assert daemon.delete(f"{sandbox.path}/processes/{pid}?signal=SIGTERM").status_code == 204
    assert json.loads(next(lines))["exit"]["exit_code"] == 143
    gone = daemon.delete(f"{sandbox.path}/processes/{pid}")
    assert (gone.status_code, gone.json()["code"]) == (404, "process_not_found")


def test_delete_without_signal_kills(daemon, sandbox):
    stream = daemon.open_stream(f"{sandbox.path}/exec", {"command": "trap '' TERM; while :; do sleep 1; done"})
    lines = stream.iter_lines()
    pid = json.loads(next(lines))["start"]["pid"]
    assert daemon.delete(f"{sandbox.path}/processes/{pid}").status_code == 204
    assert json.loads(next(lines))["exit"]["exit_code"] == 137


@pytest.mark.parametrize("pid", ["0", "-1", "abc", "99999999999", "4000000"])
def test_processes_that_are_none(daemon, module_sandbox, pid):
    reply = daemon.delete(f"{module_sandbox.path}/processes/{pid}")
    assert (reply.status_code, reply.json()["code"]) == (404, "process_not_found")


def test_a_signal_that_is_none(daemon, module_sandbox):
    reply = daemon.delete(f"{module_sandbox.path}/processes/1?signal=NONSENSE")
    assert reply.status_code == 422 and "signal" in reply.text


def test_log_tells_starts_and_ends_and_no_arguments(daemon, sandbox):
    sandbox.exec(["printf", "planted-argument-55"])
    sandbox.exec("exit 3")
    lines = [json.loads(line) for line in daemon.get(f"{sandbox.path}/logs").text.splitlines()]
    messages = [line["message"] for line in lines]
    assert any("printf" in m for m in messages) and any("code 3" in m for m in messages)
    assert not any("planted-argument" in m for m in messages)
    assert {line["source"] for line in lines} <= {"lifecycle", "process", "start"} and all(line["time"] for line in lines)
    assert len(daemon.get(f"{sandbox.path}/logs?tail=1").text.splitlines()) == 1


def test_log_follows_until_the_end_of_the_sandbox(daemon):
    box = daemon.create()
    seen = []

    def follow():
        with daemon.get(f"{box.path}/logs?follow=1", stream=True) as reply:
            seen.extend(json.loads(line)["message"] for line in reply.iter_lines())

    thread = threading.Thread(target=follow)
    thread.start()
    box.exec("true")
    until(lambda: any("ended with code 0" in m for m in seen))
    box.delete()
    thread.join(20)
    assert not thread.is_alive()


def test_stats(daemon, sandbox):
    sandbox.exec("head -c 5000000 /dev/zero > /workspace/data; i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done")
    stats = daemon.get(f"{sandbox.path}/stats").json()
    assert stats["cpu_ms"] > 0 and 0 < stats["memory_bytes"] < stats["memory_limit_bytes"] == 1024 * 1024 * 1024
    assert 0 < stats["pids"] < stats["pids_limit"] == 1024 and stats["disk_limit_bytes"] == 5120 * 1024 * 1024
    with daemon.get(f"{sandbox.path}/stats?follow=1", stream=True) as reply:
        lines = reply.iter_lines()
        assert json.loads(next(lines))["time"] <= json.loads(next(lines))["time"]


def test_preview_is_a_url_and_a_token(daemon, sandbox):
    preview = daemon.get(f"{sandbox.path}/preview?port=3000").json()
    assert preview["url"] == f"http://3000-{sandbox.id}.localhost:{daemon.port}" and len(preview["token"]) > 20
    again = daemon.get(f"{sandbox.path}/preview?port=3000").json()
    assert again == preview
    for port in ("0", "65536", "x", ""):
        assert daemon.get(f"{sandbox.path}/preview?port={port}").status_code == 422


@pytest.mark.parametrize("what", ["", "/exec", "/processes", "/files?path=/", "/files/content?path=/x", "/preview?port=1", "/logs", "/stats"])
def test_a_sandbox_that_is_none(daemon, what):
    method = "POST" if what == "/exec" else "GET"
    reply = daemon.request(method, f"/api/sandboxes/i00000000000000000000{what}", json={"command": "true"})
    assert (reply.status_code, reply.json()["code"]) == (404, "sandbox_not_found") and "not found" in reply.text
