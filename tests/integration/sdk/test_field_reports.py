"""Faults that people reported in public about services of this kind, with the unmodified SDKs; by their numbers in the table of
field reports. Those that are one call are cases of tests/sdk."""
import contextlib
import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import time

import pytest
from conftest import Daemon, until
from packages import SDK, Unavailable
from sdkclients import BUILD, KEY, SANITIZED, sdk_env, url_settings

pytestmark = pytest.mark.root
JS_KEY = """
import { Sandbox } from 'e2b'
try {
  const sandbox = await Sandbox.create()
  console.log((await sandbox.commands.run('echo in')).stdout.trim())
  await sandbox.kill()
} catch (e) {
  console.log(e.constructor.name)
}
"""
PY_KEY = """
import e2b
try:
    sandbox = e2b.Sandbox.create()
    print(sandbox.commands.run("echo in").stdout.strip())
    sandbox.kill()
except Exception as e:
    print(type(e).__name__)
"""


@pytest.fixture(scope="module")
def python(packages):
    """python(daemon, script, **settings): what a Python script with the SDK printed."""
    try:
        path = packages.py()
    except Unavailable as e:
        pytest.skip(f"the client cannot be had: {e}")

    def run(daemon, *script, **settings):
        env = sdk_env(url_settings(daemon), {"PYTHONPATH": str(path)}, settings)
        done = subprocess.run(["/usr/bin/python3", *script], env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                              timeout=240, check=False)
        assert done.returncode == 0, done.stdout + done.stderr[-3000:]
        return done.stdout.splitlines()
    return run


@pytest.fixture(scope="module")
def javascript(packages, tmp_path_factory):
    try:
        node, modules = packages.node()[0], packages.js()
    except Unavailable as e:
        pytest.skip(f"the client cannot be had: {e}")
    folder = tmp_path_factory.mktemp("js")
    (folder / "node_modules").symlink_to(modules)

    def run(daemon, text, **settings):
        (folder / "script.mjs").write_text(text)
        done = subprocess.run([*node, str(folder / "script.mjs")], env=sdk_env(url_settings(daemon), settings), stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, text=True, timeout=240, check=False)
        assert done.returncode == 0, done.stdout + done.stderr[-3000:]
        return done.stdout.splitlines()
    return run


@pytest.fixture(scope="module")
def locked():
    """A daemon that wants keys, and a key of it."""
    daemon = Daemon(["--require-keys"]).start()
    made = subprocess.run([str(BUILD / "sandmux"), "--json", "keys", "create", "sdk"], stdout=subprocess.PIPE, check=True, timeout=60,
                          env=sdk_env({"SANDMUX_STATE_DIR": str(daemon.state), "HOME": str(daemon.dir)}))
    yield daemon, json.loads(made.stdout)["key"]
    try:
        daemon.stop()
        daemon.assert_nothing_left()
    finally:
        daemon.kill_all()
        shutil.rmtree(daemon.dir, ignore_errors=True)


def test_field_report_16_a_key_of_ours_is_one_for_the_sdks(locked, python, javascript):
    daemon, key = locked
    assert python(daemon, "-c", PY_KEY, E2B_API_KEY=key) == ["in"]
    assert javascript(daemon, JS_KEY, E2B_API_KEY=key) == ["in"]


@pytest.mark.parametrize("key", [KEY, "e2b_" + "a" * 10_000, "nonsense"], ids=["wrong", "long", "no form"])
def test_field_report_16_another_key_is_an_authentication_error(locked, python, javascript, key):
    daemon, _ = locked
    assert python(daemon, "-c", PY_KEY, E2B_API_KEY=key) == ["AuthenticationException"]
    assert javascript(daemon, JS_KEY, E2B_API_KEY=key) == ["AuthenticationError"]
    assert key not in daemon.log()


@pytest.mark.skipif(SANITIZED, reason="600 processes at once are a test of the daemon as it is used")
def test_field_report_24_hundreds_of_commands_at_once(daemon, python):
    assert python(daemon, str(SDK / "py" / "report_24.py")) == ["300", "300"]


@contextlib.contextmanager
def stopped(pid):
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def state_of(pid):
    return pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


class Create:
    """A create by a client that goes away."""

    def __init__(self, daemon, mark, key=None):
        self.daemon, self.mark, self.key = daemon, mark, key
        self.body = json.dumps({"templateID": "base", "metadata": {"left": mark}}).encode()

    def send(self):
        """Its connection, once the daemon is at work; with a stopped engine that is where it stays."""
        head = f"POST /v2/sandboxes HTTP/1.1\r\nHost: localhost\r\nX-API-KEY: {KEY}\r\nContent-Type: application/json\r\n"
        head += (f"Idempotency-Key: {self.key}\r\n" if self.key else "") + f"Content-Length: {len(self.body)}\r\n\r\n"
        connection = socket.create_connection(("127.0.0.1", self.daemon.port))
        connection.sendall(head.encode() + self.body)
        until(lambda: any(i["state"] == "creating" for i in self.daemon.get("/api/sandboxes?limit=1000").json()["items"]), why="the create")
        return connection

    def again(self):
        headers = {"X-API-KEY": KEY, "Content-Type": "application/json", "Idempotency-Key": self.key}
        return self.daemon.post("/v2/sandboxes", data=self.body, headers=headers).json()["sandboxID"]

    def answered(self):
        """How many creates came to their ends."""
        return self.daemon.log().count("method=POST path=/v2/sandboxes ")

    def listed(self):
        reply = self.daemon.get("/v2/sandboxes", params={"metadata": f"left={self.mark}"}, headers={"X-API-KEY": KEY})
        return [item["sandboxID"] for item in reply.json()]


@pytest.mark.parametrize("key", [None, "kept-for-later"])
def test_field_report_25_a_create_whose_client_left(daemon, key):
    """Without a key nobody can ask for it again: it is deleted. With one, the client comes back for it."""
    create = Create(daemon, str(key), key)
    before = create.answered()
    with stopped(daemon.pid_of("sandmux-engine")):
        create.send().close()
    until(lambda: create.answered() > before, why="its end")
    assert len(create.listed()) == (0 if key is None else 1)
    if key:
        assert [create.again()] == create.listed()
        for name in create.listed():
            assert daemon.delete(f"/api/sandboxes/{name}").status_code == 204


@pytest.mark.parametrize("first", ["the engine", "the client"])
def test_field_report_25_a_client_that_leaves_while_the_gateway_is_busy(daemon, first):
    """The gateway hears of the sandbox and of the leaving at once, in either order."""
    create = Create(daemon, first)
    before, engine = create.answered(), daemon.pid_of("sandmux-engine")
    with contextlib.ExitStack() as gateway:
        with stopped(engine):
            connection = create.send()
            gateway.enter_context(stopped(daemon.pid_of("sandmux-gateway")))
            if first == "the client":
                connection.close()
        asleep = 0  # it has said what it has to say
        while asleep < 20:
            time.sleep(0.01)
            asleep = asleep + 1 if state_of(engine) == "S" else 0
        connection.close()
    until(lambda: create.answered() > before, why="its end")
    assert create.listed() == []


@pytest.mark.skipif(SANITIZED, reason="90 loops at once are a test of the daemon as it is used")
def test_field_report_25_loops_threads_and_cancelling(daemon, python):
    assert python(daemon, str(SDK / "py" / "report_25.py"), str(daemon.pid_of("sandmux-engine"))) == [
        "90", "True True", "cancelled: 6 left: 0"]
