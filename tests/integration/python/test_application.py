"""An application with four worker processes switches, creates and uses sandboxes from all of them: with FastAPI and uvicorn where
they can be had, and in any case as a server of the standard library that forks its workers."""
import concurrent.futures
import contextlib
import http.client
import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess

import pytest

from conftest import Daemon, clean_env, until
from package_tools import PYTHON, WORK, ids_of, python_env

pytest_plugins = ["python_package"]
pytestmark = pytest.mark.root
WORKERS = 4
VERSIONS = ["fastapi==0.115.12", "uvicorn==0.34.2"]


@pytest.fixture(scope="session")
def fastapi_site(package):
    """The two packages at these versions, kept below BUILD."""
    site = WORK / ("site-" + "-".join(VERSIONS).replace("==", "-"))
    if not (site / "uvicorn").exists():
        part = site.with_suffix(".part")
        shutil.rmtree(part, ignore_errors=True)
        got = subprocess.run([PYTHON, "-m", "pip", "install", "-q", "--no-warn-script-location", "--target", str(part), *VERSIONS],
                             env=clean_env(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=300)
        if got.returncode:
            pytest.skip(f"{' and '.join(VERSIONS)} could not be had: {got.stdout.strip().splitlines()[-1:]}")
        part.rename(site)
    return site


@contextlib.contextmanager
def reserved_port():
    """Nobody else gets it meanwhile; a server that sets SO_REUSEADDR can listen there."""
    with socket.socket() as s:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        s.bind(("127.0.0.1", 0))
        yield s.getsockname()[1]


class Application:
    def __init__(self, command, env, port):
        self.port = port
        self.process = subprocess.Popen(command, env=env, cwd=str(WORK), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                                        start_new_session=True)

    def ask(self, method, path):
        c = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        c.request(method, path)
        reply = c.getresponse()
        body = json.loads(reply.read())
        c.close()
        return reply.status, body

    def stop(self):
        os.killpg(self.process.pid, signal.SIGTERM)
        try:
            self.process.communicate(timeout=30)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.communicate()


def wait_for_workers(app):
    """All four have answered."""
    pids = set()

    def all_there():
        with concurrent.futures.ThreadPoolExecutor(16) as pool:
            for status, body in pool.map(lambda _: app.ask("GET", "/worker"), range(64)):
                assert status == 200
                pids.add(body["pid"])
        return len(pids) == WORKERS
    until(all_there, why="not every worker answered")
    return pids


@pytest.fixture(scope="module")
def cloud():
    with Daemon() as d:
        yield d


@pytest.fixture(scope="module")
def server(cloud):
    """A daemon with two runtimes: this machine, and the other daemon as E2B."""
    with Daemon(env={"E2B_API_KEY": "e2b_" + "0" * 40, "E2B_API_URL": cloud.url, "E2B_SANDBOX_URL": cloud.url, "SANDBOX_RUNTIME": "local"}) as d:
        yield d


@pytest.fixture(params=["fastapi", "prefork"])
def app(request, package, server):
    with reserved_port() as port:
        app = start_application(request, server, port)
        yield app
        app.stop()


def start_application(request, server, port):
    env = python_env(server.url)
    if request.param == "fastapi":
        site = request.getfixturevalue("fastapi_site")
        env["PYTHONPATH"] = ":".join([env["PYTHONPATH"], str(site), str(pathlib.Path(__file__).parent)])
        command = [PYTHON, "-m", "uvicorn", "application:app", "--port", str(port), "--workers", str(WORKERS), "--log-level", "warning"]
    else:
        command = [PYTHON, str(pathlib.Path(__file__).parent / "prefork.py"), str(port), str(WORKERS)]
    return Application(command, env, port)


def switch_is_seen_by_every_worker(ask, pids, cloud):
    """One worker switches; from then on each says so, and makes new sandboxes there. What is there already stays."""
    for name in ("e2b", "local", "e2b"):
        ask("POST", f"/switch/{name}")
        told = {}

        def all_told():
            with concurrent.futures.ThreadPoolExecutor(16) as pool:
                for body in pool.map(lambda _: ask("GET", "/runtime"), range(16)):
                    told.setdefault(body["pid"], set()).add(body["runtime"])
            return set(told) == pids
        until(all_told, why="not every worker was asked")
        assert set.union(*told.values()) == {name}
    before = ids_of(cloud)
    assert ask("GET", "/shared/on-e2b")["state"] == "started"
    assert len(ids_of(cloud) - before) == 1
    ask("POST", "/switch/local")


def test_four_workers_switch_create_and_use(app, server, cloud):
    pids = wait_for_workers(app)
    seen = set()

    def ask(method, path, status=200):
        got, body = app.ask(method, path)
        assert got == status, body
        seen.add(body.get("pid"))
        return body
    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        made = list(pool.map(lambda i: ask("POST", f"/projects/project-{i}"), range(24)))
        switches = [pool.submit(ask, "POST", f"/switch/{('local', 'e2b')[i % 2]}") for i in range(24)]
        refused = [pool.submit(ask, "POST", "/switch/daytona", 400) for _ in range(12)]
        shared = [pool.submit(ask, "GET", "/shared/shared-by-all") for _ in range(48)]
        states = [pool.submit(ask, "GET", "/runtime") for _ in range(24)]
        read = list(pool.map(lambda m: ask("GET", f"/sandboxes/{m['id']}/project"), made))
    assert [r["project"] for r in read] == [f"project-{i}" for i in range(24)]
    assert all("url='" in m["link"] for m in made)
    assert [s.result()["current_runtime"] for s in switches] == ["local", "e2b"] * 12
    assert all("not properly configured" in r.result()["detail"] and "verify that all required" in r.result()["detail"] for r in refused)
    assert all(s.result()["runtime"] in ("local", "e2b") and s.result()["valid"] for s in states)
    assert len({s.result()["inner"] for s in shared}) == 1 and all(s.result()["state"] == "started" for s in shared)
    until(lambda: ask("GET", "/runtime") and seen - {None} == pids, why="not every worker took part")
    switch_is_seen_by_every_worker(ask, pids, cloud)
    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        gone = list(pool.map(lambda i: ask("DELETE", f"/sandboxes/{i}"), [m["id"] for m in made] + ["shared-by-all", "on-e2b"]))
    assert all(g["deleted"] is True for g in gone)
    assert "not found" in ask("DELETE", f"/sandboxes/{made[0]['id']}", 404)["detail"]
    assert not ids_of(server)
    until(lambda: not ids_of(cloud))
