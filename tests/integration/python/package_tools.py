"""What the tests of the package share: its wheel, programs of their own that use it, a slow way to the daemon."""
import contextlib
import os
import pathlib
import subprocess
import textwrap
import time
import zipfile

from conftest import BUILD, PATIENCE_S, ROOT, clean_env

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


@contextlib.contextmanager
def slow_way_to(daemon, seconds, what="POST /api/sandboxes HTTP"):
    """The URL of a proxy that holds back the replies to such requests; its log says when one came."""
    proxy = subprocess.Popen([PYTHON, str(pathlib.Path(__file__).parent / "slow_proxy.py"), str(daemon.port), str(seconds), what],
                             stdout=subprocess.PIPE, text=True)
    try:
        yield f"http://127.0.0.1:{int(proxy.stdout.readline())}", proxy
    finally:
        proxy.kill()
        proxy.wait()
        proxy.stdout.close()


def settled(check, seconds=1.0):
    """Stays true for a while."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        assert check()
        time.sleep(0.05)


def alive(pid):
    try:
        os.kill(pid, 0)
    except OSError:
        return False
    return True
