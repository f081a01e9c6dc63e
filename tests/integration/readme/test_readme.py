"""Every command of the README works as written, against the server that `make run` leaves.

A block is preceded by <!-- test: name -->. The blocks run in order in one shell; only the port is exchanged, so that a server that the
machine's owner runs on 8000 is left alone.
"""
import os
import re
import subprocess
import sys

import pytest

from conftest import BUILD, ROOT, clean_env

README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"<!-- test: (\w+) -->\n```sh\n(.*?)```", README, re.S)


def test_every_shell_block_is_tested_or_a_make_target():
    untested = [block for block in re.findall(r"(<!-- test: \w+ -->\n)?```sh\n(.*?)```", README, re.S) if not block[0]]
    for _, text in untested:
        for line in text.strip().splitlines():
            assert re.match(r"make (run|test)\b", line), line
    assert len(BLOCKS) >= 6


def run(daemon, text):
    text = text.replace("localhost:8000", f"localhost:{daemon.port}").replace("$PWD/build", str(BUILD)).replace("./build/", f"{BUILD}/")
    env = clean_env(SANDMUX_URL=daemon.url, PATH=f"{BUILD}:{os.environ['PATH']}")
    return subprocess.run(["sh", "-ec", text], cwd=ROOT, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=170)


@pytest.mark.root
@pytest.mark.parametrize("name,text", [b for b in BLOCKS if b[0] not in ("path", "c", "python", "e2b")], ids=lambda v: v if v.isalnum() else "")
def test_block(daemon, name, text):
    got = run(daemon, text)
    assert got.returncode == 0, got.stdout + got.stderr
    if name in ("run", "curl"):
        assert "42" in got.stdout
    if name == "sessions":
        assert "/usr\n5\n" in got.stdout
    if name == "keep":
        assert got.stdout.count("hello") >= 2 and "demo" in got.stdout


@pytest.mark.root
def test_example_program_runs(daemon):
    text = dict(BLOCKS)["c"].replace("make -s build\n", "")
    got = run(daemon, text)
    assert got.returncode == 0, got.stdout + got.stderr


@pytest.mark.root
def test_the_e2b_sdk_is_pointed_at_it_in_three_lines(daemon):
    lines = dict(BLOCKS)["e2b"].strip().splitlines()
    assert len(lines) == 3 and lines[1].startswith("pip install ")
    sys.path.insert(0, str(ROOT / "tests" / "integration" / "sdk"))
    from packages import Packages, Unavailable
    try:
        packages = Packages(BUILD).py()
    except Unavailable as e:
        pytest.skip(f"the client cannot be had: {e}")
    text = "\n".join([lines[0], f"export PYTHONPATH={packages} PYTHONIOENCODING=utf-8", lines[2].replace("python3 ", f"{sys.executable} ")])
    got = run(daemon, text)
    assert got.returncode == 0 and got.stdout.startswith("3 cities"), got.stdout + got.stderr


def test_links_lead_somewhere():
    """Relative links of the README and of docs/ point at files that are there."""
    for page in [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]:
        for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.relative_to(ROOT)}: {target}"
