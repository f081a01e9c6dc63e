"""One suite for every runtime: a difference in behaviour is a failure, or a capability flag."""
import asyncio
import shutil
import time
import urllib.parse

import pytest
import websockets

from clouds import client, cloud  # noqa: F401 (fixtures)
from conftest import BUILD, PATIENCE_S, Daemon, text_of, until

ODD = "$(touch /tmp/x)\"';`\\ \n\tä\u2028end"


@pytest.fixture(scope="module")
def local_daemon():
    with Daemon() as d:
        yield d


@pytest.fixture(scope="module")
def fake_daemon(tmp_path_factory):
    """The same programs, but for the gateway's runtimes: it has the one in memory."""
    programs = tmp_path_factory.mktemp("programs")
    for name in ("sandmux", "sandmux-engine", "sandmux-agent"):
        shutil.copy2(BUILD / name, programs / name)
    shutil.copy2(BUILD / "tests/fake/sandmux-gateway-fake", programs / "sandmux-gateway")
    with Daemon(programs=programs) as d:
        yield d


DAEMONS = {"local": "local_daemon", "e2b": "client", "fake": "fake_daemon"}


@pytest.fixture(scope="module", params=[pytest.param("local", marks=pytest.mark.root), pytest.param("e2b", marks=pytest.mark.root), "fake"])
def runtime(request):
    """A daemon that makes its sandboxes on this runtime."""
    daemon = request.getfixturevalue(DAEMONS[request.param])
    daemon.runtime_name = request.param
    return daemon


@pytest.fixture(scope="module")
def box(runtime):
    b = runtime.create(env={"ODD": ODD, "EMPTY": ""}, metadata={"team": "blue"}, project_id="p1")
    yield b
    runtime.delete(f"{b.path}?missing_ok=1")


@pytest.fixture
def shell(runtime, box):
    """The same sandbox, for what takes a shell."""
    if runtime.runtime_name == "fake":
        pytest.skip("the runtime in memory plays commands, it has no shell")
    return box


def capabilities(daemon):
    return daemon.get("/api/runtime/status").json()["runtimes"][daemon.runtime_name]["capabilities"]


# --- life

def test_create_says_where_it_is(runtime, box):
    info = box.get()
    assert (info["runtime"], info["state"], info["template"]) == (runtime.runtime_name, "running", "base")
    assert info["metadata"] == {"team": "blue"} and info["project_id"] == "p1"
    assert info["resources"]["cpu"] > 0 and info["resources"]["memory_mib"] > 0
    assert info["expires_at"] is not None and info["capabilities"] == capabilities(runtime)


def test_unknown_template(runtime):
    reply = runtime.post("/api/sandboxes", json={"template": "no-such-template"})
    assert (reply.status_code, reply.json()["code"]) == (404, "template_not_found")
    assert "base" in reply.json()["hint"]


def test_get_or_start_gives_the_same_machine(runtime):
    first = runtime.put("/api/sandboxes/suite-name", json={})
    assert first.status_code == 201
    second = runtime.put("/api/sandboxes/suite-name", json={})
    assert second.status_code == 200 and second.json()["id"] == first.json()["id"]
    assert runtime.delete("/api/sandboxes/suite-name").status_code == 204
    assert runtime.get("/api/sandboxes/suite-name").status_code == 404
    again = runtime.put("/api/sandboxes/suite-name", json={})
    assert again.status_code == 201 and "recreated" not in again.json()
    assert runtime.delete("/api/sandboxes/suite-name").status_code == 204


def test_delete_is_real(runtime):
    b = runtime.create()
    b.delete()
    assert runtime.get(b.path).status_code == 404
    assert runtime.delete(b.path).status_code == 404
    assert runtime.delete(f"{b.path}?missing_ok=1").status_code == 204


def test_expiry(runtime):
    b = runtime.create(timeout_s=2)
    until(lambda: runtime.get(b.path).status_code == 404, 20)


def test_pause_and_resume(runtime, box):
    assert capabilities(runtime)["pause_resume"]
    box.write_file("/tmp/file", b"kept")
    assert runtime.post(f"{box.path}/pause").json()["state"] == "paused"
    assert box.try_exec(["true"]).status_code == 409
    assert runtime.post(f"{box.path}/resume").json()["state"] == "running"
    assert box.read_file("/tmp/file") == b"kept"


def test_pause_and_resume_keep_processes(runtime, shell):
    shell.exec("sleep 1000 & echo $! > /tmp/pid")
    assert runtime.post(f"{shell.path}/pause").json()["state"] == "paused"
    assert runtime.post(f"{shell.path}/resume").json()["state"] == "running"
    assert shell.exec("kill -0 $(cat /tmp/pid)")["exit_code"] == 0


def test_get_or_start_resumes_a_paused_one(runtime):
    assert runtime.put("/api/sandboxes/sleepy", json={}).status_code == 201
    assert runtime.post("/api/sandboxes/sleepy/pause").status_code == 200
    reply = runtime.put("/api/sandboxes/sleepy", json={})
    assert (reply.status_code, reply.json()["state"]) == (200, "running")
    assert runtime.delete("/api/sandboxes/sleepy").status_code == 204


def test_stop_and_start_by_the_flag(runtime):
    b = runtime.create()
    b.write_file("/workspace/kept", b"1")
    reply = runtime.post(f"{b.path}/stop")
    if capabilities(runtime)["stop_start"]:
        assert reply.json()["state"] == "stopped"
        assert runtime.post(f"{b.path}/start").json()["state"] == "running"
        assert b.read_file("/workspace/kept") == b"1"
    else:
        assert (reply.status_code, reply.json()["code"]) == (501, "unsupported")
        assert b.get()["state"] == "running"
    b.delete()


def test_resources_by_the_flag(runtime):
    reply = runtime.post("/api/sandboxes", json={"resources": {"cpu": 1, "memory_mib": 256}})
    if capabilities(runtime)["resources"]:
        assert reply.status_code == 201 and reply.json()["resources"]["memory_mib"] == 256
        assert runtime.delete(f"/api/sandboxes/{reply.json()['id']}").status_code == 204
    else:
        assert (reply.status_code, reply.json()["code"]) == (501, "unsupported")


def test_stats(runtime, box):
    assert capabilities(runtime)["stats"]
    stats = runtime.get(f"{box.path}/stats").json()
    assert stats["memory_bytes"] > 0 and stats["memory_limit_bytes"] >= stats["memory_bytes"]
    told = [stats[k] is not None for k in ("cpu_ms", "pids", "pids_limit", "net_rx_bytes", "net_tx_bytes")]
    assert not any(told) if box.info["runtime"] == "e2b" else all(told)  # what is not known is null, not 0


def test_templates(runtime):
    assert capabilities(runtime)["templates"]
    assert "base" in [t["name"] for t in runtime.get("/api/templates").json()["items"]]


# --- processes

def test_user_directory_and_environment(shell):
    result = shell.exec("id -un; pwd; printf %s \"$ODD\"; printf '|%s|' \"${EMPTY-unset}\"")
    assert result["stdout"] == f"root\n/workspace\n{ODD}||"


def test_environment_of_one_exec(shell):
    assert shell.exec("printf %s \"$V\"", env={"V": ODD})["stdout"] == ODD


@pytest.mark.parametrize("name,code", [("true", 0), ("false", 1), ("no-such-command-x", 127)])
def test_exit_codes(box, name, code):
    result = box.exec([name])
    assert (result["exit_code"], result["signal"]) == (code, None)


@pytest.mark.parametrize("command,code,signal", [("exit 7", 7, None), ("kill -9 $$", 137, 9), ("no-such-command-x", 127, None)])
def test_exit_codes_of_a_shell(shell, command, code, signal):
    result = shell.exec(command)
    assert (result["exit_code"], result["signal"]) == (code, signal)


def test_arguments_arrive_as_they_are(box):
    words = ["a  b", "$HOME", "'\"", "", "ä"]
    assert box.exec(["echo", *words])["stdout"] == " ".join(words) + "\n"


def test_output_is_apart_and_exact(shell):
    result = shell.exec("printf out; printf err >&2")
    assert (result["stdout"], result["stderr"]) == ("out", "err")
    assert text_of(shell.exec("head -c 3000000 /dev/zero | tr '\\0' x")) == b"x" * 3000000


def test_much_output(box):
    assert text_of(box.exec(["cat"], stdin="y" * 300000)) == b"y" * 300000


def test_input(box):
    assert box.exec(["cat"], stdin=ODD)["stdout"] == ODD


def test_time_limit(box):
    result = box.exec(["sleep", "100"], timeout_s=1)
    assert result["timed_out"] and result["exit_code"] == 137


def test_a_stream_comes_as_it_is_made(runtime, shell):
    reply = runtime.open_stream(f"{shell.path}/exec", {"command": "echo one; sleep 1000"})
    lines = reply.iter_lines(chunk_size=1)
    while b"one" not in next(lines):
        pass
    reply.close()


def test_missing_directory_and_user_are_the_callers_fault(box):
    assert box.try_exec(["true"], cwd="/no/such").status_code == 422
    assert box.try_exec(["true"], user="nobody-here").status_code == 422


async def terminal_output(url):
    output = b""
    async with websockets.connect(url, open_timeout=PATIENCE_S) as terminal:
        async for message in terminal:
            output += message if isinstance(message, bytes) else b""
    return output


def test_terminal(runtime, shell):
    assert capabilities(runtime)["pty"]
    query = urllib.parse.urlencode({"tty": 1, "cols": 91, "rows": 17, "command": "test -t 1 && stty size"})
    assert b"17 91" in asyncio.run(terminal_output(f"ws://127.0.0.1:{runtime.port}{shell.path}/exec?{query}"))


def test_sessions_by_the_flag(runtime, box):
    path = f"{box.path}/sessions"
    reply = runtime.post(path, json={"id": "suite"})
    if not capabilities(runtime)["sessions"]:
        assert (reply.status_code, reply.json()["code"]) == (501, "unsupported")
        return
    assert reply.status_code == 201
    assert runtime.post(f"{path}/suite/exec", json={"command": "cd /tmp; X=kept"}).json()["exit_code"] == 0
    assert runtime.post(f"{path}/suite/exec", json={"command": "pwd; echo $X"}).json()["stdout"] == "/tmp\nkept\n"
    assert runtime.delete(f"{path}/suite").status_code == 204


# --- files

@pytest.mark.parametrize("name", ["plain", "with space", "quo'te\"s", "ünï", "-dash", "a/b/c/deep"])
def test_names_and_bytes(box, name):
    data = bytes(range(256)) * 5
    box.write_file(f"/workspace/names/{name}", data)
    assert box.read_file(f"/workspace/names/{name}") == data


def test_large_file(box):
    data = bytes(range(251)) * 40000
    box.write_file("large", data)
    assert box.read_file("/workspace/large") == data
    box.write_file("empty", b"")
    assert box.read_file("empty") == b""


def test_file_errors(runtime, box):
    missing = box.try_read_file("/no/such")
    assert (missing.status_code, missing.json()["code"]) == (404, "file_not_found")
    assert runtime.get(f"{box.path}/files", params={"path": "/no/such"}).status_code == 404


def test_tree(runtime, box):
    files = f"{box.path}/files"
    box.write_file("tree/x", b"123")
    listed = runtime.get(files, params={"path": "tree"}).json()
    assert [(f["name"], f["size"], f["is_dir"]) for f in listed["files"]] == [("x", 3, False)]
    assert runtime.delete(files, params={"path": "tree", "recursive": 1}).status_code == 204
    assert runtime.get(files, params={"path": "tree"}).status_code == 404


# --- ports

def test_ports_by_the_flag(runtime, box):
    closed = runtime.get("/", headers={"Host": f"8124-{box.id}.localhost:{runtime.port}"})
    if not capabilities(runtime)["ports"]:
        assert closed.status_code == 501, closed.text
        return
    assert closed.status_code == 502
    box.write_file("/srv/index.html", b"hello from inside")
    box.exec("cd /srv && (python3 -m http.server 8123 >/dev/null 2>&1 &) ; for i in $(seq 100); do "
             "python3 -c 'import socket; socket.create_connection((\"127.0.0.1\", 8123))' 2>/dev/null && break; sleep 0.1; done")
    host = f"8123-{box.id}.localhost:{runtime.port}"

    def served():
        reply = runtime.get("/index.html", headers={"Host": host})
        return reply.status_code == 200 and reply.content == b"hello from inside"
    until(served, 30)


def test_status_and_health_name_the_runtime(runtime):
    status = runtime.get("/api/runtime/status").json()
    health = runtime.get("/api/runtime/health?strict=1")
    assert status["current_runtime"] == runtime.runtime_name
    assert health.status_code == 200 and health.json()["status"] in ("healthy", "degraded")
    assert health.json()["reachable"] and health.json()["last_ok"] <= time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
