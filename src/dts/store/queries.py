"""SQL lives in files of named sections; here they are read.

A section begins with `-- name: claim_due (node_id, batch)`: the name of the statement and what `$1`, `$2` … are.
A part that several statements share stands in a section `-- fragment: told`, and in them as `-- include: told`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

FILES = ("tasks", "ledger", "claims", "results", "runs", "history", "logs", "nodes", "tokens", "channels", "upkeep")
_HEADER = re.compile(
    r"^-- (?:name: (?P<name>\w+) \((?P<parameters>[^)]*)\)|fragment: (?P<fragment>\w+))$", re.MULTILINE
)
_INCLUDE = re.compile(r"^-- include: (?P<fragment>\w+)$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Query:
    """One statement: its file, its text, and the names of its parameters in order."""

    file: str
    name: str
    text: str
    parameters: tuple[str, ...]


def parse(file: str, text: str, fragments: Mapping[str, str] | None = None) -> dict[str, Query]:
    """The statements of a file by name. fragments: the shared parts, by name."""
    return {
        header["name"]: Query(
            file,
            header["name"],
            _INCLUDE.sub(lambda include: (fragments or {})[include["fragment"]], body),
            tuple(name.strip() for name in header["parameters"].split(",") if name.strip()),
        )
        for header, body in _sections(text)
        if header["name"]
    }


def _sections(text: str) -> Iterator[tuple[re.Match[str], str]]:
    headers = list(_HEADER.finditer(text))
    ends = [header.start() for header in headers[1:]] + [len(text)]
    for header, end in zip(headers, ends, strict=True):
        yield header, text[header.end() : end].strip().removesuffix(";")


@cache
def queries() -> dict[str, Query]:
    """Every statement by name; a name stands once."""
    found: dict[str, Query] = {}
    texts = {file: (files("dts.store") / "sql" / f"{file}.sql").read_text("utf-8") for file in FILES}
    fragments = {
        header["fragment"]: body for text in texts.values() for header, body in _sections(text) if header["fragment"]
    }
    for file, text in texts.items():
        for name, query in parse(file, text, fragments).items():
            if name in found:
                raise ValueError(f"{file}.sql and {found[name].file}.sql both name a section {name}")
            found[name] = query
    return found


def sql(name: str) -> str:
    """The text of a statement."""
    return queries()[name].text
