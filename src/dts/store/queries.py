"""SQL lives in files of named sections; here they are read.

A section begins with `-- name: claim_due (node_id, batch)`: the name of the statement and what `$1`, `$2` … are.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

FILES = ("tasks", "ledger", "claims", "results", "runs", "logs", "nodes", "upkeep")
_HEADER = re.compile(r"^-- name: (?P<name>\w+) \((?P<parameters>[^)]*)\)$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Query:
    """One statement: its file, its text, and the names of its parameters in order."""

    file: str
    name: str
    text: str
    parameters: tuple[str, ...]


def parse(file: str, text: str) -> dict[str, Query]:
    """The sections of a file by name."""
    headers = list(_HEADER.finditer(text))
    ends = [header.start() for header in headers[1:]] + [len(text)]
    return {
        header["name"]: Query(
            file,
            header["name"],
            text[header.end() : end].strip().removesuffix(";"),
            tuple(name.strip() for name in header["parameters"].split(",") if name.strip()),
        )
        for header, end in zip(headers, ends, strict=True)
    }


@cache
def queries() -> dict[str, Query]:
    """Every statement by name; a name stands once."""
    found: dict[str, Query] = {}
    for file in FILES:
        text = (files("dts.store") / "sql" / f"{file}.sql").read_text("utf-8")
        for name, query in parse(file, text).items():
            if name in found:
                raise ValueError(f"{file}.sql and {found[name].file}.sql both name a section {name}")
            found[name] = query
    return found


def sql(name: str) -> str:
    """The text of a statement."""
    return queries()[name].text
