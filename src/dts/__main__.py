"""The binary `dts`."""

from __future__ import annotations

import sys

from dts.cli.main import run


def main() -> None:
    """Runs the command line and leaves with its exit code."""
    sys.exit(run(sys.argv[1:]))


if __name__ == "__main__":
    main()
