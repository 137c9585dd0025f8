"""Names of attempts inside the executor: the 16 bytes of the run and the number.

As bytes, because a column is cut into them for a tenth of what making UUIDs costs.
"""

from __future__ import annotations

from collections.abc import Iterable
from uuid import UUID

from dts.domain.columns import ID_BYTES, count_ids, pack, unpack
from dts.pb.dts.v1 import AttemptKeys

Key = tuple[bytes, int]


def read_keys(keys: AttemptKeys | None) -> list[Key]:
    """The names in a message; none where there is no message."""
    return [] if keys is None else key_columns(keys.run_ids, keys.attempts)


def key_columns(run_ids: bytes, attempts: bytes) -> list[Key]:
    """The names in two columns."""
    rows = count_ids(run_ids)
    numbers = unpack("i", attempts, rows=rows, field="attempts")
    return [
        (run_ids[at : at + ID_BYTES], number)
        for at, number in zip(range(0, len(run_ids), ID_BYTES), numbers, strict=True)
    ]


def write_keys(keys: Iterable[Key]) -> AttemptKeys:
    """Names as a message."""
    pairs = list(keys)
    return AttemptKeys(run_ids=b"".join([run_id for run_id, _ in pairs]), attempts=pack("i", [n for _, n in pairs]))


def words(key: Key) -> str:
    """A name as people read it."""
    return f"run {str(UUID(bytes=key[0]))[:8]} attempt {key[1]}"
