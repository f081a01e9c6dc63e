"""As a user installs it: pip from a source tree, the wheel with its programs, a daemon that is started by the first call."""
import os
import pathlib
import re
import shutil
import subprocess
import tarfile
import tempfile
import zipfile

import pytest

from conftest import BUILD, ROOT, SANITIZED, clean_env, until
from package_tools import PYTHON

pytest_plugins = ["python_package"]
pytestmark = pytest.mark.skipif(SANITIZED, reason="an interpreter without sanitizers cannot load a sanitized library")


def run(*command, cwd=None, **env):
    done = subprocess.run([str(c) for c in command], env=clean_env(PIP_NO_INDEX="1", PIP_DISABLE_PIP_VERSION_CHECK="1", **env), cwd=cwd or "/",
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def venv():
    """pip install ./python in an environment of its own, with nothing to download from. Below /root, say, nobody else can look."""
    if subprocess.run([PYTHON, "-c", "import ensurepip, venv"], stderr=subprocess.DEVNULL, check=False).returncode:
        pytest.skip("python3-venv is not installed")
    with tempfile.TemporaryDirectory(prefix="smx-venv-", dir="/tmp") as folder:
        run(PYTHON, "-m", "venv", folder)
        run(f"{folder}/bin/python", "-m", "pip", "install", "-q", ROOT / "python", SANDMUX_BUILD=str(BUILD))
        yield pathlib.Path(folder)


@pytest.fixture
def place():
    """A project with a `.env` and places for state of its own; its daemon is ended at the end."""
    with tempfile.TemporaryDirectory(prefix="smx-place-", dir="/tmp") as folder:
        place = pathlib.Path(folder)
        place.chmod(0o755)
        (place / ".env").write_text("")
        yield place


def end_daemon(venv, place, **env):
    run(venv / "bin" / "sandmux", "shutdown", "--all", cwd=place, **env)
    until(lambda: not [p for p in pathlib.Path("/proc").iterdir() if p.name.isdigit() and runs_here(p, place)])


def kept(place):
    """A daemon whose state is in the place."""
    return {"SANDMUX_STATE_DIR": str(place / "state")}


def runs_here(process, place):
    try:
        return b"serve" in (process / "cmdline").read_bytes() and os.readlink(process / "cwd") == str(place)
    except OSError:
        return False


def test_the_command_of_the_wheel(venv):
    assert run(venv / "bin" / "sandmux", "--version").startswith("sandmux 0.")
    assert "0." in run(venv / "bin" / "python", "-c", "from sandbox import _native; print(_native.library_version())")


@pytest.mark.root
def test_r48_a_daemon_is_started_by_the_first_call(venv, place):
    program = ("from sandbox import Sandbox, default_client\n"
               "with Sandbox.create() as box: print(box.process.exec('echo works').result, default_client().url)\n")
    out = ""
    try:
        out = run(venv / "bin" / "python", "-c", program, cwd=place, PATH="/usr/bin:/bin")
        assert out.startswith("works\n") and "unix:/run/sandmux/sandmux-project-" in out
        assert run(venv / "bin" / "python", "-c", program, cwd=place, PATH="/usr/bin:/bin") == out  # it is still there
    finally:
        end_daemon(venv, place)
        for project in re.findall(r"sandmux-project-(\w{16})\.sock", out):
            shutil.rmtree(f"/var/lib/sandmux/projects/{project}", ignore_errors=True)


DOTENVS = {
    "plain": b"E2B_TEMPLATE_ID=mine\nSANDBOX_RUNTIME=local\n",
    "crlf": b"E2B_TEMPLATE_ID=mine\r\nSANDBOX_RUNTIME=local\r\n",
    "bom": b"\xef\xbb\xbfE2B_TEMPLATE_ID=mine\nSANDBOX_RUNTIME=local\n",
    "bom and crlf": b"\xef\xbb\xbfE2B_TEMPLATE_ID=mine\r\nSANDBOX_RUNTIME=local\r\n",
    "no newline": b"SANDBOX_RUNTIME=local\nE2B_TEMPLATE_ID=mine",
    "export and quotes": b"# comment\n\nexport E2B_TEMPLATE_ID = \"mine\"  # said\n  SANDBOX_RUNTIME='local'\n",
    "case and blanks": b"E2B_TEMPLATE_ID=mine\nSANDBOX_RUNTIME=  LOCAL  \n",
    "a broken line": b"E2B_TEMPLATE_ID=mine\nthis is no setting\nSANDBOX_RUNTIME=local\n",
}


@pytest.mark.root
@pytest.mark.parametrize("name", DOTENVS)
def test_r01_and_field_17_a_dotenv_with_every_oddity(venv, place, name):
    (place / ".env").write_bytes(DOTENVS[name])
    program = ("from sandbox.runtime_manager import runtime_manager as m\nfrom sandbox import default_client\n"
               "i = m.get_runtime_info(); e = default_client().validate('e2b')['configuration']\n"
               "print(i['runtime'], e['e2b_template'], e['e2b_configured'])\n")
    try:
        assert run(venv / "bin" / "python", "-c", program, cwd=place, **kept(place)) == "local mine False\n"
    finally:
        end_daemon(venv, place, **kept(place))


@pytest.mark.root
def test_r01_the_real_environment_wins_and_an_edited_file_counts(venv, place):
    program = ("from sandbox import default_client\n"
               "print(default_client().validate('e2b')['configuration']['e2b_template'])\n")
    (place / ".env").write_text("E2B_TEMPLATE_ID=from-file\n")
    try:
        assert run(venv / "bin" / "python", "-c", program, cwd=place, **kept(place), E2B_TEMPLATE_ID="from-environment") == "from-environment\n"
        end_daemon(venv, place, **kept(place))
        assert run(venv / "bin" / "python", "-c", program, cwd=place, **kept(place)) == "from-file\n"
        (place / ".env").write_text("E2B_TEMPLATE_ID=edited\n")
        until(lambda: run(venv / "bin" / "python", "-c", program, cwd=place, **kept(place)) == "edited\n", why="the edited file does not count")
    finally:
        end_daemon(venv, place, **kept(place))


@pytest.mark.root
def test_r02_an_unknown_runtime_in_the_dotenv_is_warned_about(venv, place):
    (place / ".env").write_text("SANDBOX_RUNTIME=nonsense\n")
    program = "from sandbox.runtime_manager import runtime_manager as m\nimport logging\nlogging.basicConfig()\nprint(m.runtime)\n"
    try:
        done = subprocess.run([venv / "bin" / "python", "-c", program], cwd=place, env=clean_env(**kept(place)), stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                              text=True, timeout=60)
        assert done.returncode == 0, done.stderr
        assert "Invalid runtime 'nonsense', defaulting to" in done.stderr and "sandbox.runtime" in done.stderr
    finally:
        end_daemon(venv, place, **kept(place))


def test_what_is_in_the_wheel(wheel):
    with zipfile.ZipFile(wheel) as z:
        names = z.namelist()
        assert len(names) == len(set(names)) and z.testzip() is None
        modes = {e.filename: e.external_attr >> 16 & 0o777 for e in z.infolist()}
        record = z.read("sandmux-0.1.0.dist-info/RECORD").decode().splitlines()
    assert [line.split(",")[0] for line in record] == names
    for program in ("sandmux", "sandmux-gateway", "sandmux-engine", "sandmux-agent", "libsandmux.so.0"):
        assert modes[f"sandbox/_programs/{program}"] == 0o755
    assert "-cp39-abi3-linux_" in wheel.name and "sandbox/py.typed" in names
    assert not [n for n in names if n.endswith((".pyc", ".c", ".h"))]


def test_the_extension_keeps_to_the_limited_api(package):
    """Each symbol of Python that it needs is in the stable ABI of 3.9."""
    out = subprocess.run(["nm", "-D", "--undefined-only", package / "sandbox" / "_native.abi3.so"], stdout=subprocess.PIPE, text=True, check=True).stdout
    used = {line.split()[-1] for line in out.splitlines() if line.split()[-1].startswith(("Py", "_Py"))}
    stable = {"_Py_NoneStruct", "_Py_Dealloc", "_Py_TrueStruct", "_Py_FalseStruct"}
    assert used and not [name for name in used if name.startswith("_Py") and not name.endswith("_SizeT") and name not in stable]
    newer = {"PyUnicode_AsUTF8AndSize", "PyObject_GetBuffer", "PyBuffer_Release", "PyType_FromModuleAndSpec", "PyModule_AddType",
             "PyModule_AddObjectRef", "Py_NewRef", "PyType_GetModuleState", "PyObject_Vectorcall"}
    assert not used & newer


def test_the_build_says_what_it_needs(package, tmp_path):
    def built_with(**env):
        done = subprocess.run([PYTHON, "-c", "import sys; sys.path.insert(0, sys.argv[1]); import build_backend as b\n"
                               "try: b.build_wheel(sys.argv[2])\nexcept b.BuildError as e: print(e)", str(ROOT / "python"), str(tmp_path)],
                              env=clean_env(**env), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, timeout=60)
        return done.stdout
    assert "has no libsandmux.so.0" in built_with(SANDMUX_BUILD=str(tmp_path))
    assert "cc failed" in built_with(SANDMUX_BUILD=str(BUILD), CFLAGS="--no-such-option")
    assert list(tmp_path.iterdir()) == []


def test_a_source_archive_uses_the_installed_library(package, tmp_path):
    program = "import sys; sys.path.insert(0, sys.argv[1]); import build_backend as b; print(b.build_sdist(sys.argv[2]))"
    name = run(PYTHON, "-c", program, ROOT / "python", tmp_path, PYTHONDONTWRITEBYTECODE="1").strip()
    with tarfile.open(tmp_path / name) as tar:
        names = tar.getnames()
        tar.extractall(tmp_path)
    base = name[:-len(".tar.gz")]
    assert f"{base}/PKG-INFO" in names and f"{base}/src/native.h" in names and not [n for n in names if "__pycache__" in n]
    prefix = tmp_path / "prefix"
    (prefix / "pc").mkdir(parents=True)
    (prefix / "pc" / "sandmux.pc").write_text(f"Name: sandmux\nDescription: x\nVersion: 0\nCflags: -I{ROOT}/include\n"
                                              f"Libs: -L{BUILD} -lsandmux -Wl,-rpath,{BUILD}\n")
    build = "import sys; sys.path.insert(0, sys.argv[1]); import build_backend as b; print(b.build_wheel(sys.argv[2]))"
    made = run(PYTHON, "-c", build, tmp_path / base, tmp_path, PKG_CONFIG_PATH=str(prefix / "pc"), PYTHONDONTWRITEBYTECODE="1").strip()
    with zipfile.ZipFile(tmp_path / made) as z:
        assert not [n for n in z.namelist() if "_programs" in n]
        z.extractall(tmp_path / "site")
    assert run(PYTHON, "-c", "from sandbox import _native; print(_native.library_version())", PYTHONPATH=str(tmp_path / "site")).startswith("0.")
