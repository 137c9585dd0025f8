"""Columns: what travels for every run travels as packed little-endian arrays, one per field.

Encoding five hundred runs as five hundred messages costs milliseconds; as a handful of `bytes` fields it costs
microseconds. A column is `array(code, values).tobytes()`; ids are their 16 bytes end to end.
"""

from __future__ import annotations

import sys
from array import array
from collections.abc import Iterable
from typing import Literal
from uuid import UUID

from dts.domain.errors import InvalidArgument
from dts.pb.dts.v1 import AttemptKeys

Code = Literal["B", "i", "q"]
ID_BYTES = 16

if array("i").itemsize != 4 or array("q").itemsize != 8 or sys.byteorder != "little":  # pragma: no cover
    raise ImportError("columns need a little-endian machine with 4-byte int and 8-byte long long")


def pack(code: Code, values: Iterable[int]) -> bytes:
    """A column of uint8 (B), int32 (i) or int64 (q)."""
    return array(code, values).tobytes()


def unpack(code: Code, column: bytes, *, rows: int, field: str) -> array[int]:
    """The values of a column; refuses one that does not have `rows` entries."""
    values = array(code)
    if len(column) != rows * values.itemsize:
        raise InvalidArgument.of(
            field, "column.length", f"has {len(column)} bytes; {rows} rows of {values.itemsize} bytes are expected"
        )
    values.frombytes(column)
    return values


def pack_ids(ids: Iterable[UUID]) -> bytes:
    """A column of ids."""
    return b"".join([run_id.bytes for run_id in ids])


def count_ids(column: bytes, *, field: str = "run_ids") -> int:
    """How many ids a column holds."""
    rows, rest = divmod(len(column), ID_BYTES)
    if rest:
        raise InvalidArgument.of(field, "column.length", f"has {len(column)} bytes; a multiple of 16 is expected")
    return rows


def unpack_ids(column: bytes, *, field: str = "run_ids") -> list[UUID]:
    """The ids of a column."""
    rows = count_ids(column, field=field)
    return [UUID(bytes=column[start : start + ID_BYTES]) for start in range(0, rows * ID_BYTES, ID_BYTES)]


def pack_keys(keys: Iterable[tuple[UUID, int]]) -> AttemptKeys:
    """Names of attempts: (run, number)."""
    pairs = list(keys)
    return AttemptKeys(
        run_ids=pack_ids(run_id for run_id, _ in pairs), attempts=pack("i", (number for _, number in pairs))
    )


def unpack_keys(keys: AttemptKeys | None) -> list[tuple[UUID, int]]:
    """The names again; none where there is no message."""
    if keys is None:
        return []
    ids = unpack_ids(keys.run_ids)
    return list(zip(ids, unpack("i", keys.attempts, rows=len(ids), field="attempts"), strict=True))
