"""The binary `dts`."""

from __future__ import annotations

import sys
from io import TextIOWrapper

from dts.cli.main import run


def main() -> None:
    """Runs the command line and leaves with its exit code."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a terminal that has no × gets an escape, not a stack trace
    sys.exit(run(sys.argv[1:]))


if __name__ == "__main__":
    main()
