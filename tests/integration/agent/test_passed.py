"""A process whose stdin or stdout is a descriptor that came with its Start: how gateways take and give tar streams."""
import http.client
import json
import os
import socket

from agentclient import PATIENCE_S, Result, Stream, agent, basic, envelope, until  # noqa: F401 (agent is a fixture)

START = "/process.Process/Start"


def start_with(agent, fd, value, script, user="user"):
    """Start with a descriptor on the socket; the stream and what the reply's head says of it."""
    c = agent.connect()
    c.connect()
    body = envelope(json.dumps({"process": {"cmd": "/bin/sh", "args": ["-c", script]}, "stdin": False}).encode())
    fields = {"Content-Type": "application/connect+json", "Content-Length": len(body), "Sandmux-Descriptor": value, **basic(user)}
    head = f"POST {START} HTTP/1.1\r\nHost: x\r\n" + "".join(f"{k}: {v}\r\n" for k, v in fields.items()) + "\r\n"
    socket.send_fds(c.sock, [head.encode() + body], [fd])
    response = http.client.HTTPResponse(c.sock, method="POST")
    response.begin()
    return Stream(c, response), response.getheader("sandmux-descriptor")


def test_stdout_by_a_descriptor(agent):
    ours, theirs = socket.socketpair()
    stream, said = start_with(agent, theirs.fileno(), "stdout", "head -c 1000000 /dev/zero; echo said >&2; exit 7")
    theirs.close()
    assert said == "stdout"
    ours.settimeout(PATIENCE_S)
    got = 0
    while piece := ours.recv(65536):
        got += len(piece)
    result = Result(stream)
    assert (got, result.stdout, result.stderr, result.code) == (1000000, b"", b"said\n", 7)


def test_stdin_by_a_descriptor(agent):
    ours, theirs = socket.socketpair()
    stream, said = start_with(agent, theirs.fileno(), "stdin", "echo begun; wc -c")
    theirs.close()
    assert said == "stdin"
    pid = stream.event()["start"]["pid"]
    status, message = agent.send_input(pid, b"x")
    assert status >= 400 and "not open" in json.dumps(message)
    ours.sendall(b"x" * 300000)
    ours.close()
    assert Result(stream).stdout.split() == [b"begun", b"300000"]


def test_a_process_that_outlives_its_stdout_ends(agent):
    ours, theirs = socket.socketpair()
    stream, _ = start_with(agent, theirs.fileno(), "stdout", "exec 1>&-; sleep 0.2; exit 3")
    theirs.close()
    ours.settimeout(PATIENCE_S)
    assert ours.recv(1) == b"" and Result(stream).code == 3


def test_descriptors_that_are_not_asked_for_are_closed(agent):
    agent.run("true")
    agent.settle()
    before = len(os.listdir(f"/proc/{agent.host_pid}/fd"))
    for value, user, used in (("else", "user", None), ("stdout", "nobody-there", None), ("stdout", "user", "stdout")) * 5:
        ours, theirs = socket.socketpair()
        stream, said = start_with(agent, theirs.fileno(), value, "echo hi", user)
        theirs.close()
        ours.settimeout(PATIENCE_S)
        assert said == used
        events = list(stream.events())
        assert ours.recv(10) == (b"hi\n" if used else b"")
        assert user == "nobody-there" or ("aGkK" in json.dumps(events)) == (used is None)
        stream.close()
    until(lambda: len(os.listdir(f"/proc/{agent.host_pid}/fd")) <= before, "descriptors are left")
