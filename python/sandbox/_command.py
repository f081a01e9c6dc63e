"""The command `sandmux` of a wheel that brought the programs along."""
import os
import sys

from ._client import bundled_program


def main() -> None:
    program = bundled_program()
    if program is None:
        sys.exit("this installation of the package brought no programs along; install sandmux itself")
    os.execv(program, ["sandmux", *sys.argv[1:]])
