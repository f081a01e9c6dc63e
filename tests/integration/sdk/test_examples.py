"""The programs of examples/e2b, as a user would run them."""
import subprocess

import pytest
from packages import ROOT, Unavailable
from sdkclients import SANITIZED, sdk_env, url_settings

pytestmark = [pytest.mark.root, pytest.mark.skipif(SANITIZED, reason="a sanitized build runs two clients of five, not the examples")]
PRINTS = {
    "code_run.mjs": "printed: 5050\nfailed: ZeroDivisionError: division by zero\n",
    "agent_loop.mjs": ("done: make a project -> .git, README\nfailed: find out what is missing -> cat: project/main.py: No such file or "
                       "directory\ndone: write it\ndone: try it -> hello from the sandbox\nfiles: .git, README, main.py\n"),
    "web_preview.mjs": "<h1>Made in a sandbox</h1>\n",
    "file_analysis.py": "3 cities\nZürich 42\nGraz 20\nŁódź 5\n",
    "agents_async.py": "[6, 12, 18, 24, 30]\n",
    "pause_resume.py": "paused: True\nnotes: half done\nstill counting: True\nkilled: True False\n",
}


def ids(daemon):
    return {item["id"] for item in daemon.get("/api/sandboxes?limit=1000").json()["items"]}


@pytest.mark.parametrize("name", sorted(p.name for p in (ROOT / "examples" / "e2b").iterdir()))
def test_example(name, packages, daemon, tmp_path):
    source = ROOT / "examples" / "e2b" / name
    try:
        if name.endswith(".py"):
            command, more = ["/usr/bin/python3", str(source)], {"PYTHONPATH": str(packages.py())}
        else:
            (tmp_path / "node_modules").symlink_to(packages.js())
            (tmp_path / name).write_text(source.read_text())
            command, more = [*packages.node()[0], str(tmp_path / name)], {}
    except Unavailable as e:
        pytest.skip(f"the client cannot be had: {e}")
    before = ids(daemon)
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=120, check=False,
                          env=sdk_env(url_settings(daemon), more, {"PYTHONIOENCODING": "utf-8"}))
    assert (done.returncode, done.stdout) == (0, PRINTS[name]), done.stderr[-2000:]
    assert ids(daemon) <= before, "the example left a sandbox"
