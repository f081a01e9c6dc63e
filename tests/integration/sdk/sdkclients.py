"""Runs the programs that make the calls of an E2B client, and reads what they report."""
import json
import os
import pathlib
import queue
import subprocess
import threading

from packages import ROOT, SDK

BUILD = pathlib.Path(os.environ.get("SMX_BUILD", ROOT / "build")).resolve()
SANITIZED = "asan" in BUILD.name or "tsan" in BUILD.name
EXPECTED = json.loads((SDK / "compatibility.json").read_text())["clients"]
CLIENTS = [c for c in EXPECTED if c.startswith(("js", "py")) and not c.endswith("-domain")]
BY_DOMAIN = [c for c in EXPECTED if c.endswith("-domain")]
if SANITIZED:  # two clients of five: what differs between them are the clients
    CLIENTS, BY_DOMAIN = ["js-2.51.0", "py-async"], ["py-sync-domain"]
KEY = "e2b_" + "0123456789abcdef" * 2 + "01234567"
CASE_S = 300  # bounds are generous: they catch hangs


def outcome(said):
    """A reported case as the table has it: "yes", "not served", "absent: why", "no: why"."""
    why = said.get("detail") if said["verdict"] in ("absent", "no") else None
    return f"{said['verdict']}: {why}" if why else said["verdict"]


def sdk_env(*settings):
    """The environment without what others set for an SDK or for sandmux."""
    env = {k: v for k, v in os.environ.items() if not k.startswith(("E2B_", "SANDMUX_", "SANDBOX_", "NODE_", "PYTHON"))}
    for more in settings:
        env.update(more)
    return env


def url_settings(daemon):
    """How an SDK finds a daemon: what `sandmux env --sdk e2b` says."""
    said = subprocess.run([str(BUILD / "sandmux"), "env", "--sdk", "e2b", "--json"], stdout=subprocess.PIPE, check=True, timeout=60,
                          env=sdk_env({"SANDMUX_STATE_DIR": str(daemon.state), "HOME": str(daemon.dir)}))
    return json.loads(said.stdout)


def command_of(client, packages):
    """Command and environment that run the cases of a client."""
    kind, _, version = client.partition("-")
    if kind == "js":
        node, _ = packages.node()
        return [*node, str(SDK / "js" / "calls.mjs"), str(packages.js()), f"e2b-{version}"], {}
    return ["/usr/bin/python3", str(SDK / "py" / "calls.py"), version], {"PYTHONPATH": str(packages.py()), "PYTHONDONTWRITEBYTECODE": "1"}


class Run:
    """One program with the cases of one client; its lines are read as they come."""

    def __init__(self, client, cases, packages, settings, wrapper=()):
        self.name, self.cases, self.seen, self.lines, self.tail = client, cases, {}, queue.Queue(), ""
        command, more = command_of(client.removesuffix("-domain"), packages)
        self.process = subprocess.Popen([*wrapper, *command, *cases], env=sdk_env(settings, more), stdin=subprocess.DEVNULL, text=True,
                                        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, cwd="/")
        threading.Thread(target=self.read, daemon=True).start()

    def read(self):
        for line in self.process.stdout:
            self.lines.put(line)
        self.lines.put(None)

    def take(self, key):
        """Lines up to the one that has this case (or, for another key, this field)."""
        while key not in self.seen:
            line = self.lines.get(timeout=CASE_S)
            assert line is not None, f"{self.name} ended before {key}:\n{self.tail}"
            try:
                said = json.loads(line)
            except ValueError:
                self.tail = (self.tail + line)[-3000:]
                continue
            if "case" in said:
                self.seen[said["case"]] = said
            else:
                self.seen.update(said)
                self.tail += line if "fatal" in said or "stray" in said else ""
        return self.seen[key]

    def close(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
