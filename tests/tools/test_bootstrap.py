"""tools/bootstrap with a made-up dpkg-query, apt-get and id: it installs what is missing, and nothing else happens."""
import os
import pathlib
import subprocess

import pytest

BOOTSTRAP = pathlib.Path(__file__).resolve().parent.parent.parent / "tools" / "bootstrap"

DPKG_QUERY = """#!/bin/sh
for package; do :; done
case " $MISSING " in *" $package "*) exit 1 ;; esac
printf installed
"""
APT_GET = """#!/bin/sh
echo "$* frontend=$DEBIAN_FRONTEND policy=$(sh "$SMX_POLICY_RC_D" 2>/dev/null; echo $?)" >>"$CALLS"
exit ${APT_STATUS:-0}
"""
ID = """#!/bin/sh
echo "$WHO"
"""


class Host:
    """A directory of made-up programs and what they were asked."""

    def __init__(self, path):
        self.path, self.calls, self.policy = path, path / "calls", path / "policy-rc.d"
        for name, text in {"dpkg-query": DPKG_QUERY, "apt-get": APT_GET, "id": ID}.items():
            (path / name).write_text(text)
            (path / name).chmod(0o755)

    def run(self, *purposes, missing="", who="0", **more):
        env = {**os.environ, "PATH": f"{self.path}:/usr/bin:/bin", "CALLS": str(self.calls), "MISSING": missing,
               "WHO": who, "SMX_POLICY_RC_D": str(self.policy), **more}
        return subprocess.run([BOOTSTRAP, *purposes], env=env, capture_output=True, text=True, timeout=60)

    def asked(self):
        return self.calls.read_text().splitlines() if self.calls.exists() else []


@pytest.fixture
def host(tmp_path):
    return Host(tmp_path)


def test_nothing_missing_nothing_asked(host):
    done = host.run("build", "test", "lint", "bench")
    assert (done.returncode, done.stdout, done.stderr, host.asked()) == (0, "", "", [])


def test_root_installs_only_what_is_missing_and_starts_no_service(host):
    done = host.run("build", "test", missing="meson prometheus nginx-light")
    assert done.returncode == 0
    update, install = host.asked()
    assert " update " in f" {update} "
    assert "install --no-install-recommends meson prometheus frontend=noninteractive policy=101" in install
    assert "nginx-light" not in install, "nobody asked for the bench"
    assert not host.policy.exists(), "the policy goes again"


def test_a_policy_of_the_host_is_kept(host):
    host.policy.write_text("exit 7\n")
    assert host.run("build", missing="gcc").returncode == 0
    assert "policy=7" in host.asked()[1]
    assert host.policy.read_text() == "exit 7\n"


def test_a_failed_install_fails_and_cleans_up(host):
    assert host.run("build", missing="gcc", APT_STATUS="100").returncode != 0
    assert not host.policy.exists()


def test_others_are_told_and_go_on_where_they_can(host):
    done = host.run("build", "test", "bench", missing="python3-pytest wrk libboost-context-dev", who="1000")
    assert done.returncode == 0
    assert host.asked() == []
    assert done.stderr.splitlines() == [
        "missing: libboost-context-dev (apt-get install libboost-context-dev); off without it: "
        "fast fiber switches (glibc ucontext is used instead)",
        "missing: python3-pytest (apt-get install python3-pytest); off without it: the integration tests",
        "missing: wrk (apt-get install wrk); off without it: the rate of small requests",
    ]


def test_others_cannot_build_without_a_compiler(host):
    done = host.run("build", missing="gcc", who="1000")
    assert done.returncode != 0
    assert "missing: gcc (apt-get install gcc); off without it: building" in done.stderr
