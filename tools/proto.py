"""Generates src/dts/pb from proto/ after linting it; with --check, says whether what is there is what would be made."""

from __future__ import annotations

import argparse
import filecmp
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
TARGET = ROOT / "src" / "dts" / "pb"
BIN = Path(sys.executable).parent


def main() -> int:
    """Returns 1 if a check fails."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true")
    check = parser.parse_args().check
    buf("lint")
    with tempfile.TemporaryDirectory() as name:
        made = generate(Path(name))
        if check:
            stale = differences(made)
            for path in stale:
                print(f"stale: {path}; run `make proto`")
            return 1 if stale else 0
        replace(made)
    return 0


def buf(*arguments: str) -> None:
    """Runs buf with the venv's plugins on its path; its own words are the error."""
    environment = os.environ | {"PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}"}
    subprocess.run([BIN / "buf", *arguments], cwd=ROOT, env=environment, check=True)


def generate(folder: Path) -> Path:
    """Generates everything below a folder and returns where."""
    buf("generate", "--output", str(folder))
    made = folder / "src" / "dts" / "pb"
    buf("build", "--as-file-descriptor-set", "--exclude-source-info", "--output", str(made / "descriptors.bin"))
    return made


def files(folder: Path) -> set[Path]:
    """The generated files of a folder; `__init__.py` at its top is ours."""
    found = (path for path in folder.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    return {path.relative_to(folder) for path in found} - {Path("__init__.py")}


def differences(made: Path) -> list[str]:
    """What is missing, too much, or different."""
    both = files(made) | files(TARGET)
    same = {path for path in files(made) & files(TARGET) if filecmp.cmp(made / path, TARGET / path, shallow=False)}
    return sorted(str(path) for path in both - same)


def replace(made: Path) -> None:
    """Puts what was made in the place of what is there."""
    for path in files(TARGET):
        (TARGET / path).unlink()
    for path in sorted(files(made)):
        (TARGET / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(made / path, TARGET / path)


if __name__ == "__main__":
    sys.exit(main())
