"""What the checks share: the list of our files, C text without comments and strings, reporting."""
import pathlib
import re
import sys

ROOT = pathlib.Path.cwd()
TOP = ["src", "include", "tests", "examples", "bench", "python"]
TOKEN = re.compile(r"""//[^\n]*|/\*.*?\*/|"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*'""", re.S)


def files(suffixes, top=None):
    """Our files below the current directory, as paths relative to it."""
    found = []
    for name in top or TOP:
        for path in sorted((ROOT / name).rglob("*")):
            if path.suffix in suffixes and path.is_file():
                found.append(path.relative_to(ROOT))
    return found


def blank(text, strings=True):
    """The text with comments (and the insides of strings) blanked out; lines and columns stay where they are."""
    def replace(m):
        token = m.group(0)
        if token[0] in "\"'":
            return token[0] + " " * (len(token) - 2) + token[-1] if strings else token
        return re.sub(r"[^\n]", " ", token)
    return TOKEN.sub(replace, text)


def line_of(text, offset):
    return text.count("\n", 0, offset) + 1


def is_test(path):
    """Unit tests, fuzz targets and the other programs that are never installed."""
    return path.name.startswith("test_") or path.parts[0] in ("tests", "examples", "bench")


class Report:
    def __init__(self):
        self.count = 0

    def __call__(self, path, line, message):
        print(f"{path}:{line}: {message}")
        self.count += 1

    def exit(self):
        sys.exit(1 if self.count else 0)
