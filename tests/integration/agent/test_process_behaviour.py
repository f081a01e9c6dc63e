"""What a command, its listeners and its leftovers do to each other: the faults that are not copied, and the rules."""
import base64
import contextlib
import hashlib
import json
import os
import random
import resource
import threading
import time

from agentclient import Result, Stream, agent, envelope, until  # noqa: F401 (agent is a fixture)

CONNECT = "/process.Process/Connect"


def connect(agent, pid=None, tag=None, **headers):
    selector = {"pid": pid} if pid else {"tag": tag}
    return agent.open(CONNECT, {"process": selector}, headers={k.replace("_", "-"): v for k, v in headers.items()})


def begin(stream):
    return stream.event()["start"]["pid"]


def data_of(event):
    return base64.b64decode(next(iter(event["data"].values())))


# --- the three faults that are not copied


def test_a_deadline_kills_the_whole_group(agent):
    r = agent.sh("sleep 601 & setsid sleep 602 & setsid sh -c 'sleep 603; :' & sleep 604",
                 headers={"Connect-Timeout-Ms": "500"})
    assert r.error["code"] == "deadline_exceeded"
    until(lambda: agent.sh("pgrep -f 'sleep 60[1-4]'", user="root").stdout == b"" or None, "something was left behind")


def test_a_background_child_does_not_delay_the_end(agent):
    r = agent.sh("sleep 605 & echo early; exit 7")
    assert (r.stdout, r.code) == (b"early\n", 7)
    agent.sh("pkill -f 'sleep 605'", user="root")


def test_later_output_of_children_is_read_and_dropped(agent):
    script = "(until [ -e /tmp/late-go ]; do sleep 0.02; done; head -c 1000000 /dev/zero; echo $? > /tmp/late-status; " \
             "echo done >> /tmp/late-status) & echo now"
    assert agent.sh(script).stdout == b"now\n"
    agent.put("/tmp/late-go", b"")
    until(lambda: agent.get("/tmp/late-status")[2] == b"0\ndone\n", "the child was blocked or killed")


def test_a_child_that_floods_does_not_delay_the_end(agent):
    r = agent.sh("yes & sleep 0.3; exit 4")
    assert r.code == 4
    agent.sh("pkill yes", user="root")


def test_every_tag_is_looked_at(agent):
    streams = {tag: agent.start("sleep", "600", tag=tag) for tag in ("one", "two", "three")}
    pids = {tag: begin(s) for tag, s in streams.items()}
    for tag in ("three", "one", "two"):
        s = connect(agent, tag=tag)
        assert begin(s) == pids[tag]
        s.close()
        assert agent.unary("/process.Process/SendSignal", {"process": {"tag": tag}, "signal": "SIGNAL_SIGKILL"})[0] == 200
        assert Result(streams[tag]).end["status"] == "signal: killed"


# --- ends


def test_kill_takes_the_tree_with_it(agent):
    # in turn: a child, one that left the session, a grandchild, an orphan in a process group of its own
    s = agent.start("bash", "-c", "sleep 611 & setsid sleep 612 & bash -c 'sleep 613 & wait' & set -m; "
                    "bash -c 'sleep 614 &'; echo up; wait")
    pid = begin(s)
    assert data_of(s.event()) == b"up\n"
    assert agent.signal(pid) == (200, {})
    assert Result(s).end["status"] == "signal: killed"
    until(lambda: agent.sh("pgrep -f 'sleep 61[1-4]'", user="root").stdout == b"" or None, "something was left behind")


def test_signals_of_an_ended_process_are_not_found(agent):
    pid = agent.run("true").pid
    for method, extra in (("SendSignal", {"signal": "SIGNAL_SIGKILL"}), ("CloseStdin", {}),
                          ("SendInput", {"input": {"stdin": ""}}), ("Update", {})):
        status, reply = agent.unary(f"/process.Process/{method}", {"process": {"pid": pid}, **extra})
        assert (status, reply["code"]) == (404, "not_found")


def test_an_exit_is_kept_for_a_late_connect(agent):
    r = agent.sh("echo out; exit 9", tag="late")
    for s in (connect(agent, r.pid), connect(agent, tag="late")):
        late = Result(s)
        assert (late.pid, late.code, late.stdout) == (r.pid, 9, b"")


def test_the_running_one_of_a_tag_is_preferred(agent):
    agent.sh("exit 1", tag="twice")
    s = agent.start("sleep", "600", tag="twice")
    pid = begin(s)
    again = connect(agent, tag="twice")
    assert begin(again) == pid
    agent.signal(pid)
    assert Result(again).end["status"] == "signal: killed"
    s.close()


def test_a_client_that_leaves_kills_nothing(agent):
    s = agent.start("bash", "-c", "for i in 1 2 3 4 5 6 7 8; do echo $i; sleep 0.1; done; echo end > /tmp/survived")
    begin(s)
    s.close()
    until(lambda: agent.get("/tmp/survived")[2] == b"end\n", "the process did not survive")


def test_output_without_listeners_is_dropped_and_connect_attaches_again(agent):
    s = agent.start("bash", "-c", "head -c 3000000 /dev/zero; echo ready > /tmp/dropped; read line; echo got $line",
                    stdin=True)
    pid = begin(s)
    s.close()
    until(lambda: agent.get("/tmp/dropped")[0] == 200, "output blocked the process while nobody listened")
    s = connect(agent, pid)
    assert begin(s) == pid
    assert agent.send_input(pid, b"again\n") == (200, {})
    r = Result(s)
    assert (r.stdout, r.code) == (b"got again\n", 0)


def test_several_listeners_get_everything(agent):
    s = agent.start("bash", "-c", "read x; seq 1 100000; exit 3", stdin=True)
    pid = begin(s)
    others = [connect(agent, pid) for _ in range(3)]
    for other in others:
        assert begin(other) == pid
    results = [None] * 4

    def read(i, stream):
        results[i] = Result(stream)

    threads = [threading.Thread(target=read, args=(i, x)) for i, x in enumerate([s, *others])]
    for t in threads:
        t.start()
    agent.send_input(pid, b"\n")
    for t in threads:
        t.join(60)
    want = "".join(f"{i}\n" for i in range(1, 100001)).encode()
    assert [(r.stdout, r.code) for r in results] == [(want, 3)] * 4


def test_the_first_listener_may_leave(agent):
    s = agent.start("bash", "-c", "read x; echo one; read x; echo two", stdin=True)
    pid = begin(s)
    second = connect(agent, pid)
    begin(second)
    agent.send_input(pid, b"\n")
    assert data_of(s.event()) == b"one\n" and data_of(second.event()) == b"one\n"
    s.close()
    time.sleep(0.05)
    agent.send_input(pid, b"\n")
    r = Result(second)
    assert (r.stdout, r.code) == (b"two\n", 0)


def test_a_slow_reader_stops_the_writer_not_the_agent(agent):
    s = agent.start("bash", "-c", "for i in $(seq 1 400); do head -c 65536 /dev/zero; echo $i > /tmp/progress; done")
    begin(s)
    until(lambda: agent.get("/tmp/progress")[0] == 200)
    before = None
    for _ in range(50):  # until it stands still
        now = agent.get("/tmp/progress")[2]
        if now == before and now:
            break
        before = now
        time.sleep(0.1)
    assert int(now or 0) < 400, "the writer was not stopped"
    assert agent.run("echo", "alive").stdout == b"alive\n"
    r = Result(s)
    assert len(r.stdout) == 400 * 65536 and r.code == 0


def test_listeners_of_different_speed(agent):
    s = agent.start("bash", "-c", "read x; head -c 20000000 /dev/zero; exit 2", stdin=True)
    pid = begin(s)
    slow = connect(agent, pid)
    begin(slow)
    agent.send_input(pid, b"\n")
    time.sleep(0.2)
    slow.close()  # it never read: the other goes on
    r = Result(s)
    assert len(r.stdout) == 20000000 and r.code == 2


def test_connect_timeout_of_connect_ends_only_the_stream(agent):
    s = agent.start("sleep", "600")
    pid = begin(s)
    r = Result(connect(agent, pid, Connect_Timeout_Ms="200"))
    assert r.error["code"] == "deadline_exceeded" and pid in agent.pids()
    agent.signal(pid)
    s.close()


def test_the_deadline_holds_after_its_client_left(agent):
    s = agent.start("sleep", "600", headers={"Connect-Timeout-Ms": "400"})
    pid = begin(s)
    s.close()
    until(lambda: pid not in agent.pids(), "the deadline did not end the process")


def test_keepalive(agent):
    begun = time.monotonic()
    s = agent.start("sleep", "600", headers={"Keepalive-Ping-Interval": "1"})
    pid = begin(s)
    for n in (1, 2):
        assert s.event() == {"keepalive": {}} and time.monotonic() - begun >= n
    agent.signal(pid)
    s.close()
    for value in ("0", "-1", "abc", "1.5", ""):
        assert agent.run("sleep", "0.1", headers={"Keepalive-Ping-Interval": value}).keepalives == 0


# --- output


def test_field_report_1_characters_are_not_cut(agent):
    text = "a" + "é€😀" * 50000 + "\n"
    r = agent.run("python3", "-c", "print('a'+'é€😀'*50000)", envs={"PYTHONIOENCODING": "utf-8"})
    assert r.stdout == text.encode()
    r = agent.run("python3", "-c", "import os,time\nfor b in '€'.encode(): os.write(1, bytes([b])); time.sleep(0.1)")
    assert r.stdout == "€".encode()


def test_events_are_bounded(agent):
    assert agent.run("head", "-c", "5000000", "/dev/zero").largest <= 32 * 1024
    r = Result(agent.pty("sh", "-c", "stty raw; head -c 500000 /dev/zero"))
    assert r.largest <= 16 * 1024 and len(r.pty) == 500000


def test_binary_output_is_exact(agent):
    data = random.Random(1).randbytes(3_000_001)
    agent.put("/tmp/random", data)
    assert agent.run("cat", "/tmp/random").stdout == data
    r = agent.sh("cat /tmp/random >&2")
    assert r.stderr == data and r.stdout == b""


def test_many_execs_at_once(agent):
    results = [None] * 100

    def work(i):
        results[i] = agent.sh(f"echo {i}; exit {i}")

    threads = [threading.Thread(target=work, args=(i,)) for i in range(100)]
    for t in threads:
        t.start()
    for t in threads:
        t.join(60)
    assert [(r.stdout, r.code) for r in results] == [(f"{i}\n".encode(), i) for i in range(100)]


# --- input


def test_stdin_is_open_if_the_field_is_absent(agent):
    s = agent.open("/process.Process/Start", {"process": {"cmd": "cat"}})
    pid = begin(s)
    assert agent.send_input(pid, b"\0\1\2\xff") == (200, {})
    assert agent.unary("/process.Process/CloseStdin", {"process": {"pid": pid}}) == (200, {})
    assert agent.unary("/process.Process/CloseStdin", {"process": {"pid": pid}})[0] in (200, 404)
    r = Result(s)
    assert (r.stdout, r.code) == (b"\0\1\2\xff", 0)


def test_stdin_false_is_dev_null(agent):
    assert agent.run("cat", stdin=False).stdout == b""
    s = agent.start("sleep", "600", stdin=False)
    pid = begin(s)
    status, reply = agent.send_input(pid, b"x")
    assert (status, reply["code"]) == (500, "internal") and reply["message"].startswith("error writing to stdin")
    agent.signal(pid)
    s.close()


def test_field_report_2_piped_stdin(agent):
    def feed(cmd, data, *args):
        s = agent.start(cmd, *args, stdin=True)
        pid = begin(s)
        failed = None
        for i in range(0, len(data), 1_000_000):
            status, reply = agent.send_input(pid, data[i:i + 1_000_000])
            if status != 200:
                failed = reply
                break
        agent.unary("/process.Process/CloseStdin", {"process": {"pid": pid}})
        return Result(s), failed

    assert feed("wc", b"\0\1\2\xff", "-c")[0].stdout == b"4\n"
    big = random.Random(2).randbytes(20_000_000)
    assert feed("sha256sum", big)[0].stdout.split()[0].decode() == hashlib.sha256(big).hexdigest()
    r, failed = feed("true", big)
    assert r.code == 0 and (failed is None or failed["code"] in ("internal", "not_found"))
    assert feed("cat", b"")[0].stdout == b""


def test_input_waits_for_a_process_that_does_not_read(agent):
    s = agent.start("bash", "-c", "sleep 0.5; wc -c", stdin=True)
    pid = begin(s)
    assert agent.send_input(pid, b"x" * 2_000_000) == (200, {})  # more than a pipe holds
    agent.unary("/process.Process/CloseStdin", {"process": {"pid": pid}})
    assert Result(s).stdout == b"2000000\n"


def test_input_of_a_client_that_leaves_blocks_nobody(agent):
    s = agent.start("sleep", "600", stdin=True)
    pid = begin(s)
    c = agent.connect()
    body = b'{"process":{"pid":%d},"input":{"stdin":"%s"}}' % (pid, base64.b64encode(bytes(200_000)))
    c.request("POST", "/process.Process/SendInput", body, {"Content-Type": "application/json"})
    time.sleep(0.1)
    c.close()
    time.sleep(0.1)
    second = threading.Thread(target=agent.send_input, args=(pid, b"y" * 200_000))
    second.start()
    time.sleep(0.1)
    agent.signal(pid)
    second.join(10)
    assert not second.is_alive()
    s.close()


def test_inputs_do_not_mix(agent):
    s = agent.start("bash", "-c", "head -c 1; until [ -e /tmp/inputs-go ]; do sleep 0.02; done; cat", stdin=True)
    pid = begin(s)
    blocks = [bytes([65 + i]) * 300_000 for i in range(6)]
    threads = [threading.Thread(target=agent.send_input, args=(pid, b)) for b in blocks]
    for t in threads:
        t.start()
    first = data_of(s.event())  # the turn of a block has begun, and goes on until the rest is read
    gone = agent.connect()  # one that leaves while it waits for its turn
    gone.request("POST", "/process.Process/SendInput",
                 json.dumps({"process": {"pid": pid}, "input": {"stdin": base64.b64encode(b"z" * 1000).decode()}}),
                 {"Content-Type": "application/json"})
    time.sleep(0.1)
    agent.settle()
    gone.close()
    agent.settle()
    agent.put("/tmp/inputs-go", b"")
    closer = threading.Thread(target=lambda: [t.join() for t in threads] and agent.unary(
        "/process.Process/CloseStdin", {"process": {"pid": pid}}))
    closer.start()
    out = first + Result(s).stdout
    closer.join()
    assert len(out) == 1_800_000 and sorted(out[i:i + 300_000] for i in range(0, len(out), 300_000)) == blocks


def test_stream_input(agent):
    s = agent.start("cat", stdin=True)
    pid = begin(s)
    messages = [{"start": {"process": {"pid": pid}}}, {"data": {"input": {"stdin": "b25lIA=="}}}, {"keepalive": {}},
                {"data": {"input": {"stdin": "dHdv"}}}]
    body = b"".join(envelope(json.dumps(m).encode()) for m in messages)
    reply = agent.open("/process.Process/StreamInput", body=body)
    assert reply.next() == (0, {}) and reply.next() == (2, {})
    agent.unary("/process.Process/CloseStdin", {"process": {"pid": pid}})
    assert Result(s).stdout == b"one two"
    for bad, code in ((messages[1:], "invalid_argument"), ([messages[0], messages[0]], "not_found"),
                      ([{"start": {"process": {"pid": 999999}}}], "not_found")):
        body = b"".join(envelope(json.dumps(m).encode()) for m in bad)
        reply = agent.open("/process.Process/StreamInput", body=body)
        assert reply.next()[0] == 2 and reply.error["code"] == code


# --- environment


def test_field_report_3_values_are_exact(agent):
    values = {"B": "two  words", "C": "'\"$HOME\\", "D": "two\nlines", "E": "", "X;id": "v"}
    out = agent.run("env", "-0", envs=values).stdout.split(b"\0")
    for key, value in values.items():
        assert f"{key}={value}".encode() in out
    r = agent.run("true", envs={"A=B": "x"})
    assert r.error["code"] == "invalid_argument"


def test_limits_of_arguments_and_environment(agent):
    assert agent.run("true", *["x"] * 1000).code == 0
    assert agent.run("true", *["x"] * 1025).error["code"] == "invalid_argument"
    assert agent.run("true", "x" * 140_000).error["code"] == "invalid_argument"
    assert agent.run("true", envs={f"V{i}": "x" for i in range(257)}).error["code"] == "invalid_argument"
    assert agent.run("echo", "x" * 100_000).stdout == b"x" * 100_000 + b"\n"


# --- terminals


def test_field_report_4_resize_and_interrupt(agent):
    script = "trap 'stty size' WINCH; stty size; while :; do sleep 0.05; done"
    s = agent.pty("bash", "-c", script, rows=40, cols=120)
    pid = begin(s)
    assert data_of(s.event()) == b"40 120\r\n"
    assert agent.unary("/process.Process/Update",
                       {"process": {"pid": pid}, "pty": {"size": {"rows": 50, "cols": 200}}}) == (200, {})
    assert data_of(s.event()) == b"50 200\r\n"
    agent.signal(pid)
    s.close()
    s = agent.pty("bash", "--norc", "-i", envs={"PS1": "$ ", "TERM": "dumb"})
    pid = begin(s)
    collected = b""
    while b"$ " not in collected:
        collected += data_of(s.event())
    assert agent.send_input(pid, b"sleep 688\r", "pty") == (200, {})
    # bash forgets a signal that comes while it starts a program, until that ends
    until(lambda: agent.sh("pgrep -fx 'sleep 688'", user="root").code == 0, "it does not run")
    assert agent.send_input(pid, b"\x03", "pty") == (200, {})
    assert agent.send_input(pid, b"echo lives $((6*7)); exit 6\r", "pty") == (200, {})
    r = Result(s)
    assert b"lives 42" in r.pty and r.code == 6


def test_pty_of_nobody_is_dropped(agent):
    s = agent.pty("bash", "-c", "head -c 500000 /dev/zero; echo over > /tmp/pty-over")
    begin(s)
    s.close()
    until(lambda: agent.get("/tmp/pty-over")[2] == b"over\n", "the terminal blocked")


def test_pty_input_kinds(agent):
    s = agent.pty("cat")
    pid = begin(s)
    status, reply = agent.send_input(pid, b"x", "stdin")
    assert (status, reply["code"]) == (500, "internal")
    status, reply = agent.unary("/process.Process/CloseStdin", {"process": {"pid": pid}})
    assert (status, reply["code"]) == (500, "unknown") and reply["message"].startswith("error closing stdin")
    assert agent.send_input(pid, b"\x04", "pty") == (200, {})
    assert Result(s).code == 0
    s = agent.start("sleep", "600", stdin=True)
    pid = begin(s)
    assert agent.send_input(pid, b"x", "pty")[1]["code"] == "internal"
    status, reply = agent.unary("/process.Process/Update",
                                {"process": {"pid": pid}, "pty": {"size": {"rows": 1, "cols": 1}}})
    assert (status, reply["code"]) == (500, "internal")
    agent.signal(pid)
    s.close()


def test_pty_background_child_does_not_delay_the_end(agent):
    r = Result(agent.pty("bash", "-c", "sleep 621 & echo hi; exit 2"))
    assert (r.pty, r.code) == (b"hi\r\n", 2)
    agent.sh("pkill -f 'sleep 621'", user="root")


def test_all_output_of_a_terminal_arrives_before_the_end(agent):
    for _ in range(20):
        assert Result(agent.pty("sh", "-c", "seq 1 3000")).pty.endswith(b"\r\n3000\r\n")


# --- the agent itself


def test_field_report_21_orphans_are_reaped(agent):
    script = "for i in $(seq 500); do (setsid sleep 0.1 &); done; sleep 2"
    assert agent.sh(script).code == 0
    until(lambda: agent.sh("ps -eo stat | grep -c ^Z", user="root").stdout in (b"0\n",), "zombies are left")
    assert agent.sh("exit 5").code == 5


def test_descriptors_are_given_back(agent):
    def count():
        return len(os.listdir(f"/proc/{agent.host_pid}/fd"))

    agent.run("true")
    agent.settle()
    before = count()
    for _ in range(30):
        agent.run("true")
        agent.run("nosuch")
        agent.run("true", cwd="/nosuch")
        Result(agent.pty("true"))
        agent.get("/proc/self/status")
        agent.put("/tmp/fds", b"x" * 100000)
    until(lambda: count() <= before, f"{count()} descriptors instead of {before}")


def test_no_descriptor_of_the_agent_is_seen_by_commands(agent):
    assert agent.sh("ls /proc/self/fd | wc -w", user="root").stdout == b"4\n"  # 0, 1, 2 and ls's own


def test_user_code_can_neither_read_nor_kill_the_agent(agent):
    for user in ("user", "root"):
        agent.sh("kill -9 1; kill -TERM 1; kill -STOP 1; kill -INT 1; kill -PIPE 1; kill -CHLD 1", user=user)
    assert agent.sh("cat /proc/1/environ; ls /proc/1/fd", user="user").code != 0
    assert agent.healthy()


def test_a_stopped_child_does_not_stop_the_agent(agent):
    """The sandbox's root stops whatever it sees while commands start."""
    script = "import os,signal,time\nend=time.time()+3\nme=os.getpid()\n" \
             "while time.time()<end:\n for p in os.listdir('/proc'):\n" \
             "  if p.isdigit() and int(p) not in (1,me):\n   try: os.kill(int(p),signal.SIGSTOP)\n   except OSError: pass\n"
    s = agent.start("python3", "-c", script, user="root")
    begin(s)
    end = time.monotonic() + 2
    while time.monotonic() < end:
        agent.start("true").close()
        assert agent.healthy()
    assert Result(s).code == 0
    agent.sh("for p in /proc/[0-9]*; do kill -CONT ${p#/proc/}; done", user="root")
    until(lambda: not agent.pids(), "what was stopped did not go on")
    assert agent.run("echo", "alive").stdout == b"alive\n"


def test_too_many_descriptors_is_an_error_of_that_call(agent):
    pid = agent.host_pid
    start = envelope(b'{"process":{"cmd":"true"},"stdin":false}')
    c = agent.connect()
    c.request("GET", "/health")
    assert c.getresponse().read() == b""
    old = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    agent.settle()  # none that it has is about to be closed
    used = {int(x) for x in os.listdir(f"/proc/{pid}/fd")}
    free = [n for n in range(1000) if n not in used]
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (free[2], old[1]))  # two more
    try:
        c.request("POST", "/process.Process/Start", start, {"Content-Type": "application/connect+json"})
        r = Result(Stream(c, c.getresponse()))
        assert r.error["code"] == "resource_exhausted" and r.pid is None
        with contextlib.suppress(ConnectionError):  # it may be closed before we have written
            assert agent.request("GET", "/health")[0] == 503
    finally:
        resource.prlimit(pid, resource.RLIMIT_NOFILE, old)
    c.request("POST", "/process.Process/Start", start, {"Content-Type": "application/connect+json"})
    assert Result(Stream(c, c.getresponse())).code == 0
    c.close()
