"""The package and programs that use it, as a type checker sees them."""
import shutil
import subprocess

import pytest

from conftest import ROOT, clean_env
from package_tools import PYTHON, SITE, WORK

pytest_plugins = ["python_package"]
MYPY = "mypy==1.15.0"
PROGRAM = '''
import asyncio
from sandbox import AsyncSandbox, ExecResult, Sandbox, SandboxState
from sandbox.e2b_sandbox import get_or_start_e2b_sandbox
from sandbox.runtime_manager import runtime_manager

box: Sandbox = Sandbox.create(name="x", env={"A": "1"}, timeout_s=5)
done: ExecResult = box.process.exec("true", timeout=1.5)
code: int = done.exit_code
data: bytes = box.fs.download_file("/x")
box.fs.download_file("/x", "/tmp/x")
state: SandboxState = box.state
good: bool = runtime_manager.validate_runtime_config()

async def main() -> None:
    twin: AsyncSandbox = await AsyncSandbox.create()
    content: bytes = await twin.fs.download_file("/x")
    result: ExecResult = await twin.process.exec(["true"])
    wrapper = await get_or_start_e2b_sandbox("id")
    wrapper.fs.upload_file(content, "/y")
    print(result.result)
asyncio.run(main())
'''
WRONG = '''
from sandbox import Sandbox
box = Sandbox.create(name=5)
text: str = box.process.exec("true").exit_code
data: str = box.fs.download_file("/x")
'''


@pytest.fixture(scope="session")
def mypy(package):
    site = WORK / ("site-" + MYPY.replace("==", "-"))
    if not (site / "mypy").exists():
        part = site.with_suffix(".part")
        shutil.rmtree(part, ignore_errors=True)
        got = subprocess.run([PYTHON, "-m", "pip", "install", "-q", "--no-warn-script-location", "--target", str(part), MYPY],
                             env=clean_env(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=300)
        if got.returncode:
            pytest.skip(f"{MYPY} could not be had: {got.stdout.strip().splitlines()[-1:]}")
        part.rename(site)

    def check(*what):
        return subprocess.run([PYTHON, "-m", "mypy", "--cache-dir", str(WORK / "mypy-cache"), *map(str, what)], cwd=WORK,
                              env=clean_env(PYTHONPATH=str(site), MYPYPATH=str(SITE)), stdout=subprocess.PIPE, text=True, timeout=300)
    return check


def test_the_package_is_consistent(mypy):
    done = mypy("--strict", "--allow-any-generics", "--no-warn-return-any", ROOT / "python" / "sandbox")
    assert done.returncode == 0, done.stdout


def test_programs_are_checked_against_it(mypy, tmp_path):
    for name, text in (("good.py", PROGRAM), ("wrong.py", WRONG)):
        (tmp_path / name).write_text(text)
    done = mypy(tmp_path / "good.py", tmp_path / "wrong.py")
    assert "good.py:" not in done.stdout, done.stdout
    for line in (3, 4, 5):
        assert f"wrong.py:{line}: error" in done.stdout, done.stdout
