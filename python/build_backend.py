"""Builds the package `sandbox` (PEP 517) with nothing but a C compiler and Python's headers.

Where libsandmux comes from, in this order:
1. SANDMUX_BUILD, or pip's --config-settings build=DIR: a build directory, as it is;
2. the source tree around this directory: its build directory, brought up to date by meson and ninja first;
3. the installed library, by pkg-config.
From a build directory (1, 2) the wheel also takes the programs along: the library then starts a daemon by itself wherever the
wheel is installed, and the command `sandmux` is there. The extension module uses the limited API: one wheel for Python 3.9 on.
"""
import base64
import hashlib
import os
import pathlib
import re
import shlex
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import tempfile
import zipfile

HERE = pathlib.Path(__file__).resolve().parent
TREE = HERE.parent
LIBRARY = "libsandmux.so.0"
PROGRAMS = ["sandmux", "sandmux-gateway", "sandmux-engine", "sandmux-agent"]
CFLAGS = ["-std=gnu17", "-O2", "-fPIC", "-fvisibility=hidden", "-fstack-protector-strong", "-Wall", "-Wextra",
          "-Wno-unused-parameter", "-Wno-missing-field-initializers", "-Wno-cast-function-type"]
NAME = "sandmux"
SUMMARY = "Sandboxes of AI agents on E2B, Daytona or this machine, through a sandmux daemon: the Python package `sandbox`"


class BuildError(Exception):
    pass


def version():
    text = (HERE / "sandbox" / "__init__.py").read_text()
    return re.search(r'^__version__ = "([^"]+)"$', text, re.M).group(1)


def run(command, **more):
    """Without what pip's isolation puts into the environment, which hides the modules of meson."""
    env = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "PYTHONNOUSERSITE", "PYTHONHOME")}
    print("+", shlex.join(map(str, command)), file=sys.stderr, flush=True)
    done = subprocess.run(list(map(str, command)), env=env, stdout=subprocess.PIPE, text=True, check=False, **more)
    if done.returncode:
        raise BuildError(f"{command[0]} failed with {done.returncode}:\n{done.stdout[-4000:]}")
    return done.stdout


# --- libsandmux

def is_tree():
    return (TREE / "meson.build").exists() and (TREE / "include" / "sandmux").is_dir()


def build_tree():
    """The build directory of the source tree, up to date."""
    build = TREE / "build"
    for tool in ("meson", "ninja"):
        if not shutil.which(tool):
            raise BuildError(f"{tool} is missing: run 'tools/bootstrap build' at the top of the source tree first")
    if not (build / "build.ninja").exists():
        run(["meson", "setup", build, TREE])
    run(["ninja", "-C", build, *PROGRAMS, next_library(build)])
    return build


def next_library(build):
    """The file that ninja makes for the library, such as libsandmux.so.0.1.0."""
    targets = run(["ninja", "-C", build, "-t", "targets", "all"])
    return re.search(r"^(libsandmux\.so\.\d+\.\d+\.\d+):", targets, re.M).group(1)


def find_library(settings):
    """Build directory, or None; compiler flags; linker flags."""
    named = (settings or {}).get("build") or os.environ.get("SANDMUX_BUILD")
    if named:
        build = pathlib.Path(named).resolve()
        if not (build / LIBRARY).exists():
            raise BuildError(f"{build} has no {LIBRARY}: build it first, or name no directory")
    elif is_tree():
        build = build_tree()
    else:
        if subprocess.run(["pkg-config", "--exists", "sandmux"], check=False).returncode:
            raise BuildError("libsandmux is not installed: install sandmux (make install), or build from its source tree")
        return None, run(["pkg-config", "--cflags", "sandmux"]).split(), run(["pkg-config", "--libs", "sandmux"]).split()
    headers = TREE / "include"
    return build, [f"-I{headers}"], [str(build / LIBRARY), "-Wl,-rpath,$ORIGIN/_programs"]


# --- the extension module

def compile_extension(cflags, libs, target):
    python = sysconfig.get_path("include")
    if not os.path.exists(os.path.join(python, "Python.h")):
        raise BuildError(f"{python}/Python.h is missing: install python3-dev")
    compiler = shlex.split(os.environ.get("CC") or "cc")
    sources = sorted((HERE / "src").glob("*.c"))
    run([*compiler, *CFLAGS, *shlex.split(os.environ.get("CFLAGS", "")), *cflags, "-isystem", python, "-shared",
         "-Wl,-z,relro", "-Wl,-z,now", "-o", target, *sources, *libs])


def take_program(source, target):
    """A copy without debug information, where there is a strip."""
    shutil.copyfile(source, target)
    os.chmod(target, 0o755)
    if shutil.which("strip"):
        run(["strip", "--strip-debug", target])


# --- the wheel

def metadata():
    return (f"Metadata-Version: 2.1\nName: {NAME}\nVersion: {version()}\nSummary: {SUMMARY}\nLicense: Apache-2.0\n"
            "Requires-Python: >=3.9\nClassifier: Programming Language :: Python :: 3\n"
            "Classifier: Operating System :: POSIX :: Linux\nDescription-Content-Type: text/markdown\n\n"
            + (HERE / "README.md").read_text())


def tag():
    return "cp39-abi3-" + re.sub(r"[-.]", "_", sysconfig.get_platform())


class Wheel:
    """A zip archive and the list of what is in it."""

    def __init__(self, path):
        self.zip = zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED)
        self.info = f"{NAME}-{version()}.dist-info"
        self.record = []

    def add(self, name, data, mode=0o644):
        entry = zipfile.ZipInfo(name, (2020, 1, 1, 0, 0, 0))
        entry.external_attr = (0o100000 | mode) << 16
        entry.compress_type = zipfile.ZIP_DEFLATED
        self.zip.writestr(entry, data)
        digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
        self.record.append(f"{name},sha256={digest},{len(data)}\n")

    def close(self, programs):
        self.add(f"{self.info}/METADATA", metadata().encode())
        self.add(f"{self.info}/WHEEL", f"Wheel-Version: 1.0\nGenerator: sandmux\nRoot-Is-Purelib: false\nTag: {tag()}\n".encode())
        if programs:
            self.add(f"{self.info}/entry_points.txt", b"[console_scripts]\nsandmux = sandbox._command:main\n")
        self.record.append(f"{self.info}/RECORD,,\n")
        self.zip.writestr(f"{self.info}/RECORD", "".join(self.record))
        self.zip.close()


def add_built(wheel, build, work):
    """What the compiler made: the extension module, and from a build directory the library and the programs."""
    wheel.add("sandbox/_native.abi3.so", (work / "_native.abi3.so").read_bytes(), 0o755)
    for name in [LIBRARY, *PROGRAMS] if build else []:
        if not (build / name).exists():
            raise BuildError(f"{build} has no {name}: build all of it")
        take_program(build / name, work / name)
        wheel.add(f"sandbox/_programs/{name}", (work / name).read_bytes(), 0o755)


def build_wheel(wheel_directory, config_settings=None, metadata_directory=None):
    build, cflags, libs = find_library(config_settings)
    name = f"{NAME}-{version()}-{tag()}.whl"
    with tempfile.TemporaryDirectory(prefix="sandmux-wheel-") as folder:
        work = pathlib.Path(folder)
        compile_extension(cflags, libs, work / "_native.abi3.so")
        wheel = Wheel(work / name)
        for path in sorted((HERE / "sandbox").rglob("*")):
            if path.suffix in (".py", ".pyi", ".typed"):
                wheel.add(path.relative_to(HERE).as_posix(), path.read_bytes())
        add_built(wheel, build, work)
        wheel.close(programs=build is not None)
        shutil.move(str(work / name), os.path.join(wheel_directory, name))
    return name


def build_sdist(sdist_directory, config_settings=None):
    """Without libsandmux: what is built from it uses the installed one."""
    base = f"{NAME}-{version()}"
    with tarfile.open(os.path.join(sdist_directory, f"{base}.tar.gz"), "w:gz", format=tarfile.PAX_FORMAT) as tar:
        for name in ("pyproject.toml", "build_backend.py", "README.md", "sandbox", "src"):
            tar.add(HERE / name, f"{base}/{name}", filter=lambda t: None if "__pycache__" in t.name else t)
        with tempfile.NamedTemporaryFile("w") as info:
            info.write(metadata())
            info.flush()
            tar.add(info.name, f"{base}/PKG-INFO")
    return f"{base}.tar.gz"


def get_requires_for_build_wheel(config_settings=None):
    return []


def get_requires_for_build_sdist(config_settings=None):
    return []
