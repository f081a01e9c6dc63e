"""The SDK in a real browser, in a page of another origin than the daemon's."""
import shutil
import subprocess

import pytest
from packages import SDK, Unavailable
from sdkclients import SANITIZED, sdk_env, url_settings
from test_field_reports import locked  # noqa: F401 (a fixture)

pytestmark = pytest.mark.root
CHROMIUM = shutil.which("chromium")


@pytest.mark.skipif(SANITIZED, reason="what differs is the client, and the plain build has it")
@pytest.mark.skipif(not CHROMIUM, reason="chromium is not installed")
def test_the_sdk_in_a_browser(packages, locked, tmp_path):  # noqa: F811
    daemon, key = locked
    try:
        node, modules = packages.node()[0], packages.js()
    except Unavailable as e:
        pytest.skip(f"the client cannot be had: {e}")
    (tmp_path / "node_modules").symlink_to(modules)
    done = subprocess.run([*node, str(SDK / "js" / "browser.mjs"), CHROMIUM], cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          env=sdk_env(url_settings(daemon), {"E2B_API_KEY": key, "HOME": str(tmp_path)}), text=True, timeout=240, check=False)
    assert done.stdout.splitlines() == [
        "read kept 5242880", "url kept", "watch true", "run hi", "stdin through cat true", "pty true", "list 1",
        "errors FileNotFoundError CommandExitError SandboxNotFoundError", "paused SandboxNotFoundError", "again kept",
        "killed true false"], done.stdout + done.stderr[-3000:]
