"""docs/faults.md speaks of every fault, and what it names as shown by is there."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from faults.breakages import CATALOGUE

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "faults.md").read_text()
ROWS = re.split(r"^### (?=F\d+ )", TEXT, flags=re.MULTILINE)[1:]
SHOWN = "* Shown by:"
NOT_SHOWN = "* Not tested here:"


def title(row: str) -> str:
    return row.partition(" ")[0]


def functions(file: Path) -> set[str]:
    found = ast.walk(ast.parse(file.read_text()))
    return {node.name for node in found if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}


def test_every_fault_of_the_matrix_has_its_place_once_and_in_order():
    assert [title(row) for row in ROWS] == [f"F{number}" for number in range(1, 41)]


@pytest.mark.parametrize("row", ROWS, ids=title)
def test_a_fault_says_what_is_done_and_what_shows_it_or_why_nothing_does(row):
    assert "* Does:" in row
    assert "* Figure:" in row
    shown = row.partition(SHOWN)[2].partition(NOT_SHOWN)[0]
    named = re.findall(r"`(?:(?:tests|bench)/|breakage: )", shown)
    reason = row.partition(NOT_SHOWN)[2].strip()
    assert named or len(reason) > 20
    assert named or SHOWN not in row


def test_every_test_that_is_named_exists():
    named = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", TEXT)
    assert named
    missing = [f"{file}::{name}" for file, name in named if name not in functions_of(file)]
    assert missing == []


def functions_of(file: str) -> set[str]:
    path = ROOT / file
    return functions(path) if path.exists() else set()


def test_every_file_that_is_named_exists():
    named = re.findall(r"[`(]((?:tests|bench|docs|decisions|src)/[\w./-]+)", TEXT)
    assert [name for name in named if not ((ROOT / name).exists() or (ROOT / "docs" / name).exists())] == []


def test_every_breakage_that_is_named_exists_and_none_is_forgotten():
    known = {breakage.name for breakage in CATALOGUE}
    named = set(re.findall(r"`breakage: ([^`]+)`", TEXT))
    assert named - known == set()
    assert known - named == set()


def test_lines_are_short_enough_to_read():
    assert [line for line in TEXT.splitlines() if len(line) > 120] == []
