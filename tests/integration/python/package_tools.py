"""What the tests of the package share: its wheel, programs of their own that use it, a slow way to the daemon."""
import contextlib
import os
import pathlib
import select
import subprocess
import textwrap
import zipfile

from conftest import BUILD, PATIENCE_S, ROOT, clean_env, until

PYTHON = "/usr/bin/python3"
WORK = BUILD / "python"
SITE = WORK / "site"


def build_wheel():
    made = subprocess.run([str(ROOT / "tools" / "build-wheel"), str(BUILD), str(WORK)], stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, text=True, env=clean_env())
    assert made.returncode == 0, made.stderr
    return pathlib.Path(made.stdout.split()[-1])


def unpack(wheel, folder):
    """What an installer does with it, but for the scripts."""
    subprocess.run(["rm", "-rf", str(folder)], check=True)
    with zipfile.ZipFile(wheel) as z:
        for entry in z.infolist():
            path = pathlib.Path(z.extract(entry, folder))
            path.chmod(entry.external_attr >> 16 & 0o777 or 0o644)


def python_env(url, **more):
    return clean_env(PYTHONPATH=str(SITE), PYTHONDONTWRITEBYTECODE="1", **({"SANDMUX_URL": url} if url else {}), **more)


def run_python(text, url, *args, env=None, cwd=None, timeout=PATIENCE_S * 2):
    """A program of its own, with the package."""
    return subprocess.run([PYTHON, "-c", textwrap.dedent(text), *args], env={**python_env(url), **(env or {})}, cwd=cwd or str(WORK),
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=timeout)


def say(text, url, *args, **more):
    """What the program printed; it must have ended well."""
    done = run_python(text, url, *args, **more)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def ids_of(daemon):
    return {item["id"] for item in daemon.get("/api/sandboxes?limit=1000").json()["items"]}


class SlowWay:
    """A proxy that holds back the replies to some requests until it is told to let them through."""

    def __init__(self, daemon, what):
        self.process = subprocess.Popen([PYTHON, str(pathlib.Path(__file__).parent / "slow_proxy.py"), str(daemon.port), what],
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0)
        self.url = f"http://127.0.0.1:{int(self.process.stdout.readline())}"

    def wait_for_request(self):
        assert select.select([self.process.stdout], [], [], PATIENCE_S)[0], "no such request came"
        assert self.process.stdout.readline() == b"seen\n"

    def let_through(self):
        self.process.stdin.close()

    def end(self):
        self.process.kill()
        self.process.wait()
        self.process.stdin.close()
        self.process.stdout.close()


@contextlib.contextmanager
def slow_way_to(daemon, what="POST /api/sandboxes HTTP"):
    way = SlowWay(daemon, what)
    try:
        yield way
    finally:
        way.end()


class Gate:
    """Holds commands up in a sandbox until so many have come: they can only end if they all run at the same time."""

    def __init__(self, box):
        self.box = box
        self.holder = box.process.start(": >/tmp/came; exec 9>/tmp/gate; flock 9; echo closed; read x")
        assert self.holder.next() == ("stdout", b"closed\n")

    @staticmethod
    def command(text):
        return f"echo >>/tmp/came; flock -s /tmp/gate {text}"

    def open_for(self, n):
        until(lambda: len(self.box.fs.download_file("/tmp/came")) == n, why=f"fewer than {n} commands came")
        self.holder.close_stdin()
        assert self.holder.wait() == 1


def alive(pid):
    try:
        os.kill(pid, 0)
    except OSError:
        return False
    return True
