"""Task files on disk."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from dts.domain.errors import InvalidArgument, Violation
from dts.pb.dts.v1 import TaskSpec

STDIN = Path("-")


def read_files(paths: Sequence[Path]) -> list[TaskSpec]:
    """The tasks of files, of the *.yaml and *.yml in folders, and of standard input for `-`.

    Raises:
        InvalidArgument: a file cannot be read, or holds mistakes.
    """
    return [spec for spec, _ in read_placed(paths)]


def read_placed(paths: Sequence[Path]) -> list[tuple[TaskSpec, str]]:
    """As `read_files`, each task with the `file:line` at which it begins.

    Raises:
        InvalidArgument: as `read_files`, or a task stands in two files.
    """
    from dts.domain.taskfile import load_placed_tasks

    files = [file for path in paths for file in _files(path)]
    placed = [task for file in files for task in load_placed_tasks(_text(file), source=_name(file))]
    first: dict[str, str] = {}
    twice: list[Violation] = []
    for spec, place in placed:
        if spec.name in first:
            twice.append(Violation(place, "task.twice", f"task {spec.name} stands in {first[spec.name]} already"))
        first.setdefault(spec.name, place)
    if twice:
        raise InvalidArgument(twice)
    return placed


def _name(file: Path) -> str:
    return "standard input" if file == STDIN else str(file)


def _files(path: Path) -> list[Path]:
    if path == STDIN or not path.is_dir():
        return [path]
    found = sorted(file for file in path.iterdir() if file.suffix in {".yaml", ".yml"})
    if not found:
        raise InvalidArgument.of(str(path), "file.none", "holds no *.yaml and no *.yml")
    return found


def _text(file: Path) -> str:
    if file == STDIN and sys.stdin is None:
        raise InvalidArgument.of(_name(file), "file.unreadable", "is closed")
    try:
        # Bytes, so that a byte that is no UTF-8 is told the same whichever way it came.
        return (sys.stdin.buffer.read() if file == STDIN else file.read_bytes()).decode("utf-8-sig")
    except OSError as error:
        raise InvalidArgument.of(_name(file), "file.unreadable", f"cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise InvalidArgument.of(_name(file), "file.unreadable", "is not UTF-8 text") from error
