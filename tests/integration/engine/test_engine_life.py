"""The life of a sandbox through the engine alone, and every refusal of its protocol."""
import json
import os
import shutil
import signal
import socket
import subprocess
import time

import pytest

from engineclient import BUILD, Agent, Connection, Engine, EngineError, alive, new_id, until

pytestmark = pytest.mark.root


def code_of(call, *args, **kwargs):
    with pytest.raises(EngineError) as e:
        call(*args, **kwargs)
    return e.value.code


def ignore_requests_to_end(engine, id):
    """Starts a process that a stop has to kill."""
    engine.run(id, "setsid sh -c 'trap \"\" TERM; touch /tmp/ignores; while :; do sleep 1; done' >/dev/null 2>&1 &")
    until(lambda: engine.run(id, "test -e /tmp/ignores")[0] == 0)


def test_create_exec_delete(engine):
    sandbox = engine.create(token="tok-1")
    assert sandbox["state"] == "running" and sandbox["token"] == "tok-1" and sandbox["pid"] > 1
    assert sandbox["resources"] == engine.hello["defaults"] | {"cpu_milli": sandbox["resources"]["cpu_milli"]}
    agent = engine.agent(sandbox["id"])
    assert agent.health() == 204
    assert agent.run(["sh", "-c", "echo out; echo err >&2; exit 7"]) == (7, "out\n", "err\n")
    agent.close()
    assert engine.call("delete", id=sandbox["id"])["sandbox"]["state"] == "gone"
    assert not alive(sandbox['pid'])
    assert engine.directories() == [] and len(engine.groups()) == len([g for g in engine.groups() if g.endswith(engine.instance)])
    assert code_of(engine.call, "get", id=sandbox["id"]) == "sandbox_not_found"


def test_a_create_and_a_start_bring_a_connection_to_the_agent(engine):
    def bring(op, **fields):
        seq = engine.gate.send(op, id=id, **fields)
        engine.gate.bringing.add(seq)
        reply, fd = engine.gate.wait(seq)
        agent = Agent(fd)
        try:
            assert agent.health() == 204 and agent.run(["true"])[0] == 0
        finally:
            agent.close()
        return reply["sandbox"]["pid"]

    id = new_id()
    first = bring("create", create={})
    engine.call("stop", id=id, grace_ms=0)
    assert bring("start") != first


def test_hello_tells_limits_truthfully(engine):
    hello = engine.hello
    assert hello["version"] == 1 and hello["ready"] and hello["templates"] == ["base"]
    assert hello["disk"] == "soft" and hello["limits"] in ("hard", "soft") and hello["cgroup"] in ("v1", "v2", "hybrid", "none")
    assert code_of(engine.call, "hello", version=99) == "protocol_error"


def test_doctor_names_each_requirement(engine):
    checks = {c["name"]: c for c in engine.call("doctor")["checks"]}
    for name in ("privilege", "kernel", "user namespaces", "shifted ids", "overlay", "agent", "template base", "memory limit", "disk"):
        assert name in checks
    assert all(c["ok"] or c["hint"] for c in checks.values())


def test_list_is_paged_and_ordered(engine):
    ids = sorted(engine.create(resources={"memory_mib": 64})["id"] for _ in range(5))
    assert [s["id"] for s in engine.list()] == ids
    assert [s["id"] for s in engine.call("list", after=ids[2])["sandboxes"]] == ids[3:]


def test_stop_and_start_keep_the_files(engine):
    id = engine.create()["id"]
    engine.run(id, "echo kept > /home/user/file; mkdir /workspace/d; rm /etc/profile")
    stopped = engine.call("stop", id=id, grace_ms=0)["sandbox"]
    assert stopped["state"] == "stopped" and stopped["reason"] == "stopped" and "pid" not in stopped
    assert engine.slots() is not None and code_of(engine.call, "connect_agent", id=id) == "state_conflict"
    assert code_of(engine.call, "stop", id=id) == "state_conflict"
    assert engine.call("start", id=id)["sandbox"]["state"] == "running"
    assert engine.run(id, "cat /home/user/file; ls -d /workspace/d; hostname")[:2] == (0, f"kept\n/workspace/d\n{id}\n")
    assert engine.run(id, "test -e /etc/profile")[0] == 1
    assert code_of(engine.call, "start", id=id) == "state_conflict"


def test_stop_asks_first_and_kills_after_the_grace(engine):
    id = engine.create()["id"]
    engine.run(id, "setsid sh -c 'trap \"echo asked > /root/asked; exit\" TERM; touch /root/one; while :; do sleep 0.05; done' >/dev/null 2>&1 &")
    engine.run(id, "setsid sh -c 'trap \"\" TERM; touch /root/two; while :; do sleep 0.05; done' >/dev/null 2>&1 &")
    until(lambda: engine.run(id, "test -e /root/one -a -e /root/two")[0] == 0)
    begun = time.monotonic()
    engine.call("stop", id=id, grace_ms=700)
    assert time.monotonic() - begun >= 0.7
    engine.call("start", id=id)
    assert engine.run(id, "cat /root/asked")[1] == "asked\n"


def test_stop_asks_a_paused_sandbox_too(engine):
    id = engine.create()["id"]
    engine.run(id, "setsid sh -c 'trap \"echo asked > /root/asked; exit\" TERM; touch /root/ready; while :; do sleep 0.05; done' >/dev/null 2>&1 &")
    until(lambda: engine.run(id, "test -e /root/ready")[0] == 0)
    engine.call("pause", id=id)
    engine.call("stop", id=id, grace_ms=60000)
    engine.call("start", id=id)
    assert engine.run(id, "cat /root/asked")[1] == "asked\n"


def test_stop_without_processes_does_not_wait(engine):
    id = engine.create()["id"]
    begun = time.monotonic()
    engine.call("stop", id=id, grace_ms=30000)
    assert time.monotonic() - begun < 15


def test_pause_and_resume_go_on_with_the_same_processes(engine):
    id = engine.create()["id"]
    engine.run(id, "setsid sh -c 'i=0; while :; do i=$((i+1)); echo $i > /root/n; sleep 0.01; done' >/dev/null 2>&1 &")
    upper = engine.state / "sandboxes" / id / "upper/root/n"
    until(upper.exists)
    assert engine.call("pause", id=id)["sandbox"]["state"] == "paused"
    before = upper.read_text()
    time.sleep(0.3)
    assert upper.read_text() == before
    assert code_of(engine.call, "pause", id=id) == "state_conflict"
    assert code_of(engine.call, "connect_agent", id=id) == "state_conflict"
    assert engine.call("resume", id=id)["sandbox"]["state"] == "running"
    until(lambda: upper.read_text() not in (before, ""))
    assert code_of(engine.call, "resume", id=id) == "state_conflict"


@pytest.mark.parametrize("state", ["running", "paused", "stopped"])
def test_deadline_ends_it_in_any_state(engine, state):
    id = engine.create(deadline_ms=60000)["id"]
    if state != "running":
        engine.call("pause" if state == "paused" else "stop", id=id)
    begun = time.monotonic()
    got = engine.call("set_deadline", id=id, deadline_ms=300)["sandbox"]
    assert 0 < got["deadline_ms"] <= 300
    event = engine.gate.event(id=id)
    assert time.monotonic() - begun >= 0.29
    assert event["event"] == "ended" and event["sandbox"]["state"] == "gone" and event["sandbox"]["reason"] == "expired"
    assert code_of(engine.call, "get", id=id) == "sandbox_not_found"
    assert engine.directories() == []


def test_deadline_fires_without_a_gateway(engine):
    pid = engine.create(deadline_ms=500)["pid"]
    engine.gate.close()
    until(lambda: not alive(pid))
    until(lambda: engine.directories() == [])


@pytest.mark.parametrize("action, state, event", [("pause", "paused", "paused"), ("stop", "stopped", "ended")])
def test_deadline_pauses_or_stops(engine, action, state, event):
    id = engine.create(deadline_ms=60000, at_expiry=action)["id"]
    engine.run(id, "echo kept > /root/file")
    engine.call("set_deadline", id=id, deadline_ms=200)
    told = engine.gate.event(id=id)
    assert told["event"] == event and told["sandbox"]["state"] == state and "deadline_ms" not in told["sandbox"]
    engine.call("resume" if action == "pause" else "start", id=id)
    assert engine.run(id, "cat /root/file")[1] == "kept\n"
    engine.call("set_deadline", id=id, deadline_ms=200)  # the action is for good
    assert engine.gate.event(id=id)["event"] == event


def test_deadline_pauses_without_a_gateway(engine):
    id = engine.create(deadline_ms=300, at_expiry="pause")["id"]
    engine.gate.close()
    record = engine.state / "sandboxes" / id / "meta.json"
    until(lambda: json.loads(record.read_text())["state"] == "paused")
    assert "deadline_ns" not in json.loads(record.read_text())


def test_deadline_is_moved_and_taken_away(engine):
    id, passed = engine.create_with_short_deadline(400)
    time.sleep(max(0, passed + 0.2 - time.monotonic()))
    assert engine.call("get", id=id)["sandbox"]["state"] == "running"
    assert engine.call("set_deadline", id=id, deadline_ms=600000)["sandbox"]["deadline_ms"] > 500000


def test_deadline_of_zero_at_create(engine):
    id = new_id()
    try:
        engine.create(id=id, deadline_ms=0)
    except EngineError as e:
        assert e.code == "sandbox_not_found"
    until(lambda: engine.directories() == [] and engine.list() == [])


def test_deadline_does_not_wait_for_a_stop_in_its_way(engine):
    sandbox = engine.create()
    ignore_requests_to_end(engine, sandbox["id"])
    engine.gate.send("set_deadline", id=sandbox["id"], deadline_ms=500)
    engine.gate.send("stop", id=sandbox["id"], grace_ms=60000)
    until(lambda: not alive(sandbox['pid']), timeout=30)
    assert engine.gate.event(id=sandbox["id"])["sandbox"]["reason"] == "expired"


def test_pid_one_killed_from_the_host_is_reported(engine):
    sandbox = engine.create()
    os.kill(sandbox["pid"], signal.SIGKILL)
    ended = engine.gate.event(id=sandbox["id"])["sandbox"]
    assert ended["state"] == "stopped" and ended["reason"] == "killed"
    assert engine.call("get", id=sandbox["id"])["sandbox"]["reason"] == "killed"
    assert engine.call("start", id=sandbox["id"])["sandbox"]["reason"] == "none"


def test_ports_are_reached_inside(engine):
    id = engine.create()["id"]
    engine.run(id, "setsid python3 -c 'import socket\ns=socket.create_server((\"127.0.0.1\",80))\nt=socket.create_server((\"::1\",81),"
                   "family=socket.AF_INET6)\nopen(\"/tmp/up\",\"w\")\nfor l in (s,t):\n c,_=l.accept(); c.sendall(b\"hi\"); c.close()' "
                   ">/dev/null 2>&1 & while ! test -e /tmp/up; do sleep 0.02; done")
    for port in (80, 81):
        _, fd = engine.call("connect_port", id=id, port=port)
        with socket.socket(fileno=fd) as s:
            s.setblocking(True)
            assert s.recv(10) == b"hi"
    with pytest.raises(EngineError) as e:
        engine.call("connect_port", id=id, port=82)
    assert e.value.code == "port_closed" and "82" in e.value.message
    assert os.readlink(f"/proc/{engine.process.pid}/ns/net") == os.readlink("/proc/self/ns/net")


def test_stats(engine):
    id = engine.create(resources={"memory_mib": 128, "pids": 50, "disk_mib": 100})["id"]
    engine.run(id, "head -c 3000000 /dev/urandom > /root/f; i=0; while [ $i -lt 100000 ]; do i=$((i+1)); done")
    end = time.monotonic() + 20  # files are added up now and then, not with every write
    while (stats := engine.call("stats", id=id)["stats"])["disk_bytes"] < 3_000_000 and time.monotonic() < end:
        time.sleep(0.05)
    assert stats["memory_limit_bytes"] == 128 << 20 and 0 < stats["memory_bytes"] <= 128 << 20
    assert stats["cpu_ns"] > 10_000_000 and 1 <= stats["pids"] <= 50 and stats["pids_limit"] == 50
    assert 3_000_000 <= stats["disk_bytes"] < 20_000_000 and stats["disk_limit_bytes"] == 100 << 20
    engine.call("stop", id=id)
    assert engine.call("stats", id=id)["stats"]["disk_bytes"] >= 3_000_000


# --- refusals

@pytest.mark.parametrize("create, code", [
    ({"template": "nosuch"}, "template_not_found"),
    ({"template": "../base"}, "template_not_found"),
    ({"resources": {"cpu_milli": 10**6}}, "invalid_request"),
    ({"resources": {"cpu_milli": 1}}, "invalid_request"),
    ({"resources": {"memory_mib": 10**7}}, "invalid_request"),
    ({"resources": {"memory_mib": 1}}, "invalid_request"),
    ({"resources": {"disk_mib": 10**9}}, "invalid_request"),
    ({"resources": {"pids": 10**6}}, "invalid_request"),
    ({"resources": {"pids": -1}}, "invalid_request"),
    ({"hostname": "a/b"}, "invalid_request"),
    ({"token": "x" * 65}, "invalid_request"),
    ({"path": "/etc"}, "invalid_request"),
])
def test_create_is_refused(shared, create, code):
    with pytest.raises(EngineError) as e:
        shared.call("create", id=new_id(), create=create)
    assert e.value.code == code
    assert shared.directories() == [] or all(s["state"] == "running" for s in shared.list())


def test_an_id_exists_once(engine):
    id = engine.create()["id"]
    assert code_of(engine.create, id=id) == "conflict"
    seqs = [engine.gate.send("create", id=(other := id[:-1] + "0" if id[-1] != "0" else id[:-1] + "1"), create={}) for _ in range(5)]
    results = []
    for seq in seqs:
        try:
            results.append(engine.gate.wait(seq)["sandbox"]["state"])
        except EngineError as e:
            results.append(e.code)
    assert sorted(results) == ["conflict"] * 4 + ["running"]
    assert other != id


@pytest.mark.parametrize("op", ["start", "stop", "pause", "resume", "delete", "set_deadline", "get", "stats", "connect_agent"])
def test_unknown_ids(shared, op):
    assert code_of(shared.call, op, id=new_id()) == "sandbox_not_found"


def test_a_hostile_gateway_is_answered_or_ignored(engine):
    for bad in (b"{", b"[]", b"null", b"\0" * 100, b'{"seq":9001}', b'{"seq":"x","op":"list"}', b"x" * 100_000,
                b'{"seq":9002,"op":"get","id":"' + b"a" * 5000 + b'"}', b'{"seq":9003,"op":"get","id":"../../../../../etc/x"}'):
        engine.gate.sock.send(bad)
    socket.send_fds(engine.gate.sock, [json.dumps({"seq": 9099, "op": "list"}).encode()], [0, 1, 2])
    assert engine.gate.wait(9099)["seq"] == 9099
    for op in ("gateway", "shutdown"):
        assert code_of(engine.call, op) == "forbidden"
    assert engine.create()["state"] == "running"


def test_too_many_requests_at_once_are_refused(engine):
    id = engine.create()["id"]
    ignore_requests_to_end(engine, id)
    seqs = [engine.gate.send("stop", id=id, grace_ms=3000) for _ in range(1500)]
    codes = []
    for seq in seqs:
        try:
            codes.append(engine.gate.wait(seq)["sandbox"]["state"])
        except EngineError as e:
            codes.append(e.code)
    assert codes.count("busy") > 0 and codes.count("stopped") == 1 and set(codes) == {"busy", "stopped", "state_conflict"}


def test_a_gateway_that_does_not_read_loses_its_connection_only(engine):
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    assert "error" not in engine.control_call("gateway", fds=[theirs.fileno()])
    theirs.close()
    ours.setblocking(False)
    for seq in range(1, 3000):
        try:
            ours.send(json.dumps({"seq": seq, "op": "doctor"}).encode())
        except BlockingIOError:
            break
    assert engine.control_call("hello", version=1)["hello"]["ready"]
    ours.close()


# --- supervisors come and go

def test_a_new_gateway_is_handed_over(engine):
    id = engine.create()["id"]
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    assert "error" not in engine.control_call("gateway", fds=[theirs.fileno()])
    theirs.close()
    new = Connection(ours)
    assert new.call("get", id=id)["sandbox"]["state"] == "running"
    until(lambda: engine.gate.closed)
    engine.gate = new
    assert "descriptor" in engine.control_call("gateway")["message"]
    with open("/dev/null") as null:
        assert engine.control_call("gateway", fds=[null.fileno()])["error"] == "invalid_request"


def test_the_control_socket_is_roots(engine):
    assert os.stat(engine.state).st_mode & 0o777 == 0o700
    assert os.stat(engine.state / "control.sock").st_mode & 0o077 == 0


def test_the_control_socket_asks_who_calls(make_engine):
    """Even where somebody has opened the directories."""
    engine = make_engine()
    for path, mode in ((engine.root, 0o755), (engine.state, 0o755), (engine.state / "control.sock", 0o777)):
        os.chmod(path, mode)
    program = """
import socket, sys
s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
s.connect(sys.argv[1])
s.settimeout(20)
try:
    s.send(b'{"seq":1,"op":"shutdown","all":true}')
    print(len(s.recv(1000)))
except OSError as e:
    print("refused", e.errno)
"""
    out = subprocess.run(["/usr/bin/python3", "-c", program, engine.state / "control.sock"], user=65534, group=65534, extra_groups=[],
                         stdout=subprocess.PIPE, text=True, check=True).stdout
    assert out.strip() in ("0", "refused 32", "refused 104"), out
    assert engine.create()["state"] == "running"


def test_sigterm_leaves_the_sandboxes(engine):
    id = engine.create()["id"]
    engine.process.terminate()
    assert engine.process.wait(20) == 0
    engine.gate.close()
    engine.start()
    assert engine.run(id, "echo alive")[1] == "alive\n"


def test_shutdown_leaves_the_sandboxes(engine):
    id = engine.create()["id"]
    assert "error" not in engine.control_call("shutdown")
    assert engine.process.wait(20) == 0
    engine.gate.close()
    engine.start()
    assert engine.run(id, "echo alive")[1] == "alive\n"


def test_an_engine_is_replaced_by_the_next(engine):
    id = engine.create()["id"]
    next_one = Engine(state=engine.root, instance=engine.instance).start()
    assert engine.process.wait(20) == 0
    assert next_one.run(id, "echo alive")[1] == "alive\n"
    engine.gate.close()
    engine.process, engine.gate = next_one.process, next_one.gate


def test_a_foreign_lock_is_respected(engine):
    engine.process.terminate()
    engine.process.wait(20)
    engine.gate.close()
    holder = subprocess.Popen(["/usr/bin/python3", "-c", "import fcntl,sys,time\nf=open(sys.argv[1],'r+')\nfcntl.lockf(f,fcntl.LOCK_EX)\n"
                               "print('held',flush=True)\ntime.sleep(60)", engine.state / "lock"], stdout=subprocess.PIPE)
    try:
        assert holder.stdout.readline() == b"held\n"
        engine.start(wait=False)
        assert engine.process.wait(20) == 1
        assert f"locked by process {holder.pid}" in (engine.root / "log").read_text()
    finally:
        holder.kill()
        holder.wait()
    engine.gate.close()
    engine.start()


def orphaned(engine):
    """Starts it again below a process that ends at once, with a gateway that is closed at once."""
    engine.process.terminate()
    engine.process.wait(20)
    engine.gate.close()
    code = ("import socket,subprocess,sys\na,b=socket.socketpair(socket.AF_UNIX,socket.SOCK_SEQPACKET)\n"
            "p=subprocess.Popen(sys.argv[1:]+['--gateway-fd',str(b.fileno())],pass_fds=[b.fileno()],stdout=2)\nb.close()\n"
            "a.send(b'{\"seq\":1,\"op\":\"hello\",\"version\":1}')\na.recv(9999)\nprint(p.pid)")
    out = subprocess.run(["/usr/bin/python3", "-c", code, BUILD / "sandmux-engine", "--state-dir", engine.state, "--instance",
                          engine.instance, "--agent", BUILD / "sandmux-agent"], stdout=subprocess.PIPE, stderr=engine.log, check=True, timeout=60)
    return int(out.stdout)


def test_an_engine_that_nobody_needs_leaves(engine):
    pid = orphaned(engine)
    until(lambda: not alive(pid))
    engine.start()


def test_an_engine_without_a_supervisor_stays_for_its_sandboxes(engine):
    for seconds in (2, 10, 50):  # more where we were too slow
        begun = time.monotonic()
        id = engine.create(deadline_ms=seconds * 1000)["id"]
        pid = orphaned(engine)
        stays = alive(pid) and engine.directories()
        until(lambda: not alive(pid), timeout=seconds + 20)
        assert time.monotonic() - begun >= seconds
        if stays:
            break
        engine.start()
    assert stays, "it did not wait for the deadline of its sandbox"
    assert not engine.directories() and id not in str(engine.groups())
    engine.start()


def test_the_first_list_of_a_gateway_is_complete(engine):
    ids = [new_id() for _ in range(20)]
    for id in ids:
        engine.gate.send("create", id=id, create={"resources": {"memory_mib": 64}})
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    until(lambda: engine.directories())
    assert "error" not in engine.control_call("gateway", fds=[theirs.fileno()])
    theirs.close()
    engine.gate = Connection(ours)
    found = engine.list()
    assert all(b["state"] == "running" for b in found)
    time.sleep(1)
    assert {b["id"] for b in engine.list()} == {b["id"] for b in found}


@pytest.mark.parametrize("rooms", ["0", "8"])
def test_creates_that_wait_when_their_gateway_dies_are_dropped(make_engine, rooms):
    engine = make_engine("--rooms", rooms)
    ids = [new_id() for _ in range(64)]
    for id in ids:
        engine.gate.send("create", id=id, create={"resources": {"memory_mib": 64}})
    until(lambda: engine.directories())
    engine.gate.close()
    engine.gate.reopen(engine)
    found = {b["id"] for b in engine.list()}
    assert len(found) < 64, "none was dropped"
    assert all(b["state"] == "running" for b in engine.list())
    assert all(engine.run(id, "echo works")[1] == "works\n" for id in found)
    for id in set(ids) - found:
        engine.create(id=id, resources={"memory_mib": 64})  # nothing of it is in the way
    assert {b["id"] for b in engine.list()} == set(ids)
    engine.empty()


def test_templates_that_nobody_uses_are_removed(engine):
    base = engine.state / "templates/base"
    now = {p.name for p in base.iterdir()}
    id = engine.create()["id"]
    engine.call("stop", id=id)
    engine.kill()
    kept, unused = base / ("0" * 16), base / ("1" * 16)
    (base / now.copy().pop()).rename(kept)
    unused.mkdir()
    record = json.loads((engine.state / "sandboxes" / id / "meta.json").read_text())
    record["generation"] = kept.name
    (engine.state / "sandboxes" / id / "meta.json").write_text(json.dumps(record))
    engine.start()
    assert {p.name for p in base.iterdir()} == now | {kept.name}
    engine.call("start", id=id)
    assert engine.run(id, "cat /etc/os-release")[0] == 0


def test_two_installations_share_nothing(make_engine):
    a, b = make_engine(), make_engine()
    one, two = a.create(), b.create()
    assert a.list()[0]["id"] == one["id"] and b.list()[0]["id"] == two["id"]
    assert not set(a.slots()) & set(b.slots())
    assert open(f"/proc/{one['pid']}/uid_map").read() != open(f"/proc/{two['pid']}/uid_map").read()


def test_without_root_it_says_so():
    e = Engine()
    got = subprocess.run([BUILD / "sandmux-engine", "--state-dir", "/tmp/none", "--instance",
                          "x", "--agent", "/bin/true"], user=65534, capture_output=True, text=True)
    assert got.returncode == 1 and "needs root" in got.stderr
    e.log.close()
    shutil.rmtree(e.root)


def test_an_idle_engine_holds_no_descriptor_of_the_past(make_engine):
    engine = make_engine("--rooms", "8")
    ids = [engine.create()["id"] for _ in range(3)]
    for id in ids:
        engine.run(id, "true")
        engine.call("delete", id=id)
    until(engine.has_full_pools, timeout=60)
    before = engine.descriptors()
    for _ in range(10):
        id = engine.create()["id"]
        engine.agent(id).close()
        engine.call("delete", id=id)
    until(lambda: engine.descriptors() <= before + 2)
