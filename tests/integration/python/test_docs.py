"""The Python blocks of docs/python.md run in order; the README's and the package's own blocks too."""
import pathlib
import re
import subprocess
import tempfile

import pytest

from conftest import BUILD, ROOT, clean_env

pytest_plugins = ["python_package"]
pytestmark = pytest.mark.root


def blocks(page):
    return re.findall(r"```python\n(.*?)```", (ROOT / page).read_text(), re.S)


def test_the_guide_runs(client, daemon, capfd):
    import logging

    import sandbox
    names = {}
    try:
        for number, block in enumerate(blocks("docs/python.md")):
            if "create_session" in block and daemon.get(f"/api/sandboxes/{names['box'].id}/sessions").status_code == 404:
                continue
            exec(compile(block, f"docs/python.md, block {number + 1}", "exec"), names)
    finally:
        logging.getLogger("sandbox").setLevel(logging.NOTSET)
        client.delete("demo", missing_ok=True)
    assert "got word" in capfd.readouterr().out and sandbox


def test_the_packages_page_runs(client, capfd):
    for block in blocks("python/README.md"):
        exec(compile(block, "python/README.md", "exec"), {})
    assert capfd.readouterr().out == "42\n\n"


def test_the_readmes_task(package, daemon):
    """As it is written, but for the places: the environment is made elsewhere, the build is this one."""
    text = re.search(r"<!-- test: python -->\n```sh\n(.*?)```", (ROOT / "README.md").read_text(), re.S).group(1)
    with tempfile.TemporaryDirectory(prefix="smx-readme-", dir="/tmp") as folder:
        venv = pathlib.Path(folder) / "venv"
        assert "~/sandmux-venv" in text
        done = subprocess.run(["sh", "-ec", text.replace("~/sandmux-venv", str(venv)).replace("python3 -m venv", "/usr/bin/python3 -m venv")],
                              cwd=ROOT, env=clean_env(SANDMUX_URL=daemon.url, SANDMUX_BUILD=str(BUILD), PIP_NO_INDEX="1"),
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "exit 0, 42" in done.stdout and "program.py" in done.stdout
