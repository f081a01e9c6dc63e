"""docs/runtimes.md: its table is what the runtimes say of themselves, its commands work."""
import re
import subprocess

import pytest

from clouds import client, cloud  # noqa: F401 (fixtures)
from conftest import BUILD, ROOT, clean_env

pytestmark = pytest.mark.root
PAGE = (ROOT / "docs" / "runtimes.md").read_text()


def test_the_table_of_differences_is_the_capability_data(client):
    runtimes = client.get("/api/runtime/status").json()["runtimes"]
    rows = re.findall(r"^\| `(\w+)` \| (yes|no) \| (yes|no) \|", PAGE, re.M)
    assert len(rows) >= 10
    for name, local, e2b in rows:
        assert (runtimes["local"]["capabilities"][name], runtimes["e2b"]["capabilities"][name]) == (local == "yes", e2b == "yes"), name
    said = {name for name, _, _ in rows}
    held = {name for r in ("local", "e2b") for name, has in runtimes[r]["capabilities"].items() if has}
    assert held <= said


def test_its_commands_work(client, tmp_path):
    blocks = re.findall(r"```sh\n(.*?)```", PAGE, re.S)
    assert len(blocks) >= 2
    for block in blocks:
        script = block.replace("http://localhost:8000", client.url)
        done = subprocess.run(["bash", "-euc", script], cwd=tmp_path, capture_output=True, text=True, timeout=120,
                              env=clean_env(SANDMUX_URL=client.url, PATH=f"{BUILD}:/usr/local/bin:/usr/bin:/bin"))
        assert done.returncode == 0, (block, done.stdout, done.stderr)
    assert client.post("/api/runtime/switch", json={"runtime": "e2b"}).status_code == 200
