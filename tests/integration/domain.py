"""A machine of its own for clients that know only a domain: a network namespace with a DNS server that answers for `*.sandmux.test`, the
daemon on port 443 in it with a certificate of `sandmux tls init`, and programs that are run beside it. The mount namespace holds the
resolv.conf that names the DNS server; nothing outside is touched, and all of it goes with its processes.

    from domain import domain            # the fixture, one for a module

    domain.run("curl", "-sS", f"https://api.{domain.name}/version", env=domain.env())
"""
import contextlib
import json
import os
import pathlib
import shutil
import subprocess
import tempfile

import pytest

from conftest import BUILD, PATIENCE_S, Daemon, clean_env, until


TRUST = ("SSL_CERT_", "CURL_CA_", "REQUESTS_CA_", "NODE_EXTRA_", "NODE_TLS_")


def untouched_env(**more):
    """Without what this machine says about authorities and proxies."""
    env = {k: v for k, v in clean_env().items() if not k.startswith(TRUST) and not k.lower().endswith("_proxy")}
    env.update(more)
    return env


class Domain:
    def __init__(self, name="sandmux.test", flags=()):
        self.name = name
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix="smx-dom-", dir="/tmp"))
        self.dir.chmod(0o755)
        self.tls = self.dir / "tls"
        self.ca = self.tls / "ca.pem"
        self.dns = None
        self.daemon = None
        self.flags = list(flags)

    # --- the namespace: its first process is the DNS server

    def start(self):
        (self.dir / "resolv.conf").write_text("nameserver 127.0.0.1\n")
        (self.dir / "hosts").write_text("127.0.0.1 localhost\n")
        dns = ("exec dnsmasq --keep-in-foreground --conf-file=/dev/null --no-resolv --no-hosts --pid-file= --user=root --group=root "
               f"--listen-address=127.0.0.1 --bind-interfaces --address=/{self.name}/127.0.0.1")
        # an address beside loopback: resolvers that ask for AI_ADDRCONFIG find nothing without one
        address = "(ip link add out type dummy || ip link add out type veth peer name out1) && ip addr add 10.99.0.1/24 dev out && ip link set out up"
        setup = (f"ip link set lo up && {address} && mount --bind {self.dir}/resolv.conf /etc/resolv.conf && "
                 f"mount --bind {self.dir}/hosts /etc/hosts && {dns}")
        with open(self.dir / "dns.log", "wb") as log:
            self.dns = subprocess.Popen(["unshare", "--net", "--mount", "--propagation", "private", "sh", "-c", setup], stdout=log, stderr=log,
                                        stdin=subprocess.DEVNULL, start_new_session=True)
        until(self.answers, why=(self.dir / "dns.log").read_text())
        subprocess.run([BUILD / "sandmux", "tls", "init", "--dir", self.tls, "--domain", self.name], check=True, env=untouched_env(),
                       capture_output=True, timeout=PATIENCE_S)
        self.daemon = Daemon(["--listen", "127.0.0.1:8000", "--tls-listen", "127.0.0.1:443", "--domain", self.name,
                              "--tls-cert", str(self.tls / "cert.pem"), "--tls-key", str(self.tls / "key.pem"), *self.flags])
        self.daemon.wrapper = self.enter()
        self.daemon.start()
        return self

    def enter(self):
        return ["nsenter", "--target", str(self.dns.pid), "--net", "--mount"]

    def answers(self):
        assert self.dns.poll() is None, (self.dir / "dns.log").read_text()
        found = subprocess.run([*self.enter(), "getent", "ahostsv4", f"x.{self.name}"], capture_output=True, text=True, timeout=PATIENCE_S)
        return found.stdout.startswith("127.0.0.1 ")

    # --- programs in it

    def env(self, *flags):
        """What `sandmux env --sdk e2b` prints for the daemon, on top of a clean environment."""
        command = [BUILD / "sandmux", "env", "--sdk", "e2b", "--json", *flags]
        out = self.run(*command, env=untouched_env(SANDMUX_STATE_DIR=str(self.daemon.state)), check=True)
        return untouched_env(HOME=str(self.dir), **json.loads(out.stdout))

    def run(self, *argv, **more):
        more.setdefault("timeout", PATIENCE_S)
        more.setdefault("env", untouched_env())
        return subprocess.run([*self.enter(), *map(str, argv)], capture_output=True, text=True, **more)

    def popen(self, *argv, **more):
        more.setdefault("env", untouched_env())
        return subprocess.Popen([*self.enter(), *map(str, argv)], **more)

    def curl(self, *argv, trust=True, **more):
        """Body and status; trust False: without the authority, a path: with another."""
        env = untouched_env(**({"SSL_CERT_FILE": str(self.ca if trust is True else trust)} if trust else {}))
        return self.run("curl", "-sS", "--max-time", "30", "-w", "\n%{http_code}", *argv, env=env, **more)

    # --- sandboxes, through the unix socket: that is no part of the namespace

    def create(self, **body):
        status, answer = self.daemon.unix_request("POST", "/api/sandboxes", body)
        assert status == 201, answer
        return answer["id"]

    def exec(self, sandbox_id, command, **more):
        status, answer = self.daemon.unix_request("POST", f"/api/sandboxes/{sandbox_id}/exec", {"command": command, **more})
        assert status == 200, answer
        return answer

    def delete_all(self):
        _, answer = self.daemon.unix_request("GET", "/api/sandboxes?limit=1000")
        for item in answer["items"]:
            status, _ = self.daemon.unix_request("DELETE", f"/api/sandboxes/{item['id']}?missing_ok=1")
            assert status == 204

    def close(self):
        try:
            if self.daemon and self.daemon.process:
                self.delete_all()
                self.daemon.stop()
                self.daemon.assert_nothing_left()
        finally:
            if self.daemon:
                self.daemon.kill_all()
                shutil.rmtree(self.daemon.dir, ignore_errors=True)
            if self.dns:
                self.dns.kill()
                self.dns.wait()
            shutil.rmtree(self.dir, ignore_errors=True)


def missing():
    """Why there can be no such machine here, or None."""
    if os.geteuid() != 0:
        return "needs root"
    for program in ("dnsmasq", "unshare", "nsenter", "ip", "curl"):
        if not shutil.which(program, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin"):
            return f"{program} is not installed"
    return None


@contextlib.contextmanager
def domain_of_its_own(**more):
    if missing():
        pytest.skip(missing())
    made = Domain(**more)
    try:
        yield made.start()
    finally:
        made.close()


@pytest.fixture(scope="module")
def domain():
    with domain_of_its_own() as made:
        yield made
