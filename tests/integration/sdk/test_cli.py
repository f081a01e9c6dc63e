"""Unmodified @e2b/cli at a real daemon: the commands that work with sandboxes."""
import hashlib
import json
import os
import pty
import re
import select
import subprocess
import time

import pytest
from packages import Unavailable
from sdkclients import SANITIZED, sdk_env, url_settings

pytestmark = [pytest.mark.root, pytest.mark.skipif(SANITIZED, reason="a sanitized build runs two clients of five, not the CLI")]
PATIENCE_S = 120  # bounds are generous: they catch hangs
ANSI = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]|\x1b[=>]|\r")


class Cli:
    def __init__(self, command, env):
        self.command, self.env = command, env

    def __call__(self, *args, stdin=b"", ok=True):
        done = subprocess.run([*self.command, *args], input=stdin, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=self.env,
                              timeout=PATIENCE_S, check=False)
        assert not ok or done.returncode == 0, (args, done.returncode, done.stdout[-1000:], done.stderr[-1000:])
        return done

    def json(self, *args):
        return json.loads(self(*args).stdout)

    def terminal(self, *args):
        return Terminal([*self.command, *args], self.env)


class Terminal:
    """The program on a terminal of its own."""

    def __init__(self, command, env):
        self.master, slave = pty.openpty()
        self.text, self.at = "", 0
        self.process = subprocess.Popen(command, stdin=slave, stdout=slave, stderr=slave, env={**env, "TERM": "xterm"},
                                        start_new_session=True)
        os.close(slave)

    def see(self, pattern):
        """Waits for text that came after the last see()."""
        end = time.monotonic() + PATIENCE_S
        while not (found := re.search(pattern, self.text[self.at:])):
            assert time.monotonic() < end, f"no {pattern} in {self.text[self.at:]!r}"
            if select.select([self.master], [], [], 0.5)[0]:
                try:
                    self.text = ANSI.sub("", self.text + os.read(self.master, 65536).decode(errors="replace"))
                except OSError:
                    raise AssertionError(f"ended before {pattern}: {self.text[self.at:]!r}") from None
        self.at += found.end()
        return found

    def type(self, text):
        os.write(self.master, text.encode())

    def close(self):
        """Exit status."""
        try:
            return self.process.wait(PATIENCE_S)
        finally:
            self.process.kill()
            os.close(self.master)


@pytest.fixture(scope="module")
def cli(packages, daemon, tmp_path_factory):
    try:
        node, _ = packages.node()
        program = packages.js() / "@e2b" / "cli" / "dist" / "index.js"
    except Unavailable as e:
        pytest.skip(f"the client cannot be had: {e}")
    home = tmp_path_factory.mktemp("home")
    return Cli([*node, str(program)], sdk_env(url_settings(daemon), {"HOME": str(home), "NO_COLOR": "1"}))


@pytest.fixture
def box(daemon):
    """The id of a sandbox made through E2B's door."""
    reply = daemon.post("/v2/sandboxes", json={"templateID": "base", "metadata": {"made": "for the cli"}},
                        headers={"X-API-KEY": url_settings(daemon)["E2B_API_KEY"]})
    assert reply.status_code == 201, reply.text
    yield reply.json()["sandboxID"]
    daemon.delete(f"/api/sandboxes/{reply.json()['sandboxID']}?missing_ok=1")


@pytest.mark.call("sandbox list")
def test_list(cli, box):
    listed = cli.json("sandbox", "list", "--format", "json", "--metadata", "made=for the cli")
    assert [s["sandboxId"] for s in listed] == [box]
    assert box in cli("sandbox", "list").stdout.decode()
    assert cli.json("sandbox", "list", "--format", "json", "--metadata", "made=otherwise") == []


@pytest.mark.call("sandbox info")
def test_info(cli, box):
    info = cli.json("sandbox", "info", "--format", "json", box)
    assert info["sandboxId"] == box and info["state"] == "running" and info["metadata"] == {"made": "for the cli"}
    assert cli("sandbox", "info", "i00000000000000000000", ok=False).returncode != 0


@pytest.mark.call("sandbox create --detach, kill")
def test_create_detached_and_kill(cli):
    said = cli("sandbox", "create", "--detach", "--timeout", "120").stdout.decode()
    made = re.search(r"\bi[a-z0-9]{15,}\b", said).group(0)
    assert cli.json("sandbox", "info", "--format", "json", made)["state"] == "running"
    cli("sandbox", "kill", made)
    assert cli("sandbox", "info", made, ok=False).returncode != 0
    again = cli("sandbox", "kill", made, ok=False)
    assert b"found" in (again.stdout + again.stderr)


@pytest.mark.call("sandbox kill --all")
def test_kill_all(cli, daemon, box):
    cli("sandbox", "kill", "--all", "--metadata", "made=for the cli")
    assert daemon.get(f"/api/sandboxes/{box}").status_code in (404, 410)


@pytest.mark.call("sandbox exec")
def test_exec(cli, box):
    done = cli("sandbox", "exec", box, "echo out; echo err >&2")
    assert done.stdout == b"out\n" and b"err" in done.stderr
    assert cli("sandbox", "exec", box, "exit 3", ok=False).returncode == 3
    assert cli("sandbox", "exec", "-u", "root", "-c", "/tmp", "-e", "A=1 2", box, "echo $A $(id -un) $PWD").stdout == b"1 2 root /tmp\n"
    assert cli("sandbox", "exec", box, "no-such-program", ok=False).returncode == 127


@pytest.mark.call("sandbox exec --background")
def test_exec_in_the_background(cli, daemon, box):
    done = cli("sandbox", "exec", "--background", box, "sleep 1; echo done >/home/user/proof")
    assert int(done.stderr.split()[-1]) > 1
    end = time.monotonic() + PATIENCE_S
    while daemon.get(f"/api/sandboxes/{box}/files/content", params={"path": "/home/user/proof"}).status_code != 200:
        assert time.monotonic() < end
        time.sleep(0.1)


@pytest.mark.call("sandbox exec: stdin as it is (field report 2)")
def test_fr02_exec_takes_stdin_as_it_is(cli, box):
    assert cli("sandbox", "exec", box, "wc", "-c", stdin=b"\0\1\2\377").stdout.strip() == b"4"
    data = os.urandom(20_000_000)
    assert cli("sandbox", "exec", box, "sha256sum", stdin=data).stdout.split()[0].decode() == hashlib.sha256(data).hexdigest()
    assert cli("sandbox", "exec", box, "cat").stdout == b""


@pytest.mark.call("sandbox exec: of a command that does not read (field report 2)")
def test_fr02_exec_of_a_command_that_does_not_read(cli, box):
    assert cli("sandbox", "exec", box, "true", stdin=b"x" * 20_000_000).returncode == 0


@pytest.mark.call("sandbox pause, resume")
def test_pause_and_resume(cli, box):
    cli("sandbox", "pause", box)
    assert cli.json("sandbox", "info", "--format", "json", box)["state"] == "paused"
    assert [s["sandboxId"] for s in cli.json("sandbox", "list", "--state", "paused", "--format", "json")] == [box]
    cli("sandbox", "resume", box)
    assert cli("sandbox", "exec", box, "echo awake").stdout == b"awake\n"
    assert cli("sandbox", "pause", "i00000000000000000000", ok=False).returncode != 0


@pytest.mark.call("sandbox logs")
def test_logs(cli, box):
    said = cli("sandbox", "logs", "--format", "json", box).stdout.decode()
    for line in said.splitlines():
        if line.startswith("{"):
            assert {"timestamp", "level"} <= json.loads(line).keys()
    cli("sandbox", "logs", box)


@pytest.mark.call("sandbox metrics")
def test_metrics(cli, box):
    end = time.monotonic() + PATIENCE_S
    while not (lines := [x for x in cli("sandbox", "metrics", "--format", "json", box).stdout.decode().splitlines() if x.startswith("{")]):
        assert time.monotonic() < end, "no sample"
    assert json.loads(lines[-1])["memTotal"] > 0


@pytest.mark.call("sandbox create")
def test_create_is_a_terminal(cli):
    terminal = cli.terminal("sandbox", "create")
    terminal.see(r"i[a-z0-9]{15,}")
    terminal.see(r"\$ ")
    terminal.type("echo in $((40+2)); stty size\n")
    terminal.see(r"in 42")
    terminal.see(r"\d+ \d+")
    terminal.type("exit\n")
    assert terminal.close() == 0


@pytest.mark.call("sandbox connect")
def test_connect_is_a_terminal(cli, box):
    terminal = cli.terminal("sandbox", "connect", box)
    terminal.see(r"\$ ")
    terminal.type("echo kept >proof; echo $((40+2)) is written\n")
    terminal.see(r"42 is written")
    terminal.type("exit\n")
    assert terminal.close() == 0
    assert cli("sandbox", "exec", box, "cat proof").stdout == b"kept\n"
    assert cli("sandbox", "connect", "i00000000000000000000", ok=False).returncode != 0


@pytest.mark.call("sandbox snapshot", verdict="not served")
def test_what_is_not_served_says_so(cli, box):
    for command in (["sandbox", "snapshot", "create", box], ["sandbox", "snapshot", "list"]):
        done = cli(*command, ok=False)
        assert done.returncode != 0 and b"501" in done.stdout + done.stderr, done


@pytest.mark.call("template list")
def test_templates(cli):
    assert "base" in cli("template", "list", ok=False).stdout.decode()
