"""Task files on disk."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from dts.domain.errors import InvalidArgument
from dts.pb.dts.v1 import TaskSpec

STDIN = Path("-")


def read_files(paths: Sequence[Path]) -> list[TaskSpec]:
    """The tasks of files, of the *.yaml and *.yml in folders, and of standard input for `-`.

    Raises:
        InvalidArgument: a file cannot be read, or holds mistakes.
    """
    from dts.cli.taskfile import load_tasks

    return [spec for path in paths for file in _files(path) for spec in load_tasks(_text(file), source=str(file))]


def _files(path: Path) -> list[Path]:
    if path == STDIN or not path.is_dir():
        return [path]
    found = sorted(file for file in path.iterdir() if file.suffix in {".yaml", ".yml"})
    if not found:
        raise InvalidArgument.of(str(path), "file.none", "holds no *.yaml and no *.yml")
    return found


def _text(file: Path) -> str:
    try:
        return sys.stdin.read() if file == STDIN else file.read_text("utf-8")
    except OSError as error:
        raise InvalidArgument.of(str(file), "file.unreadable", f"cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise InvalidArgument.of(str(file), "file.unreadable", "is not UTF-8 text") from error
