"""Amounts of memory as people write them: `512m`, `2g`, or a number of bytes."""

from __future__ import annotations

import re
from decimal import Decimal

UNITS = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40}
_SIZE = re.compile(r"(\d{1,19}(?:\.\d{1,6})?)\s*([kmgt]?)(?:i?b)?", re.ASCII | re.IGNORECASE)


def parse_size(text: str) -> int:
    """Reads an amount; bytes.

    Raises:
        ValueError: it is none; the message says what is allowed.
    """
    match = _SIZE.fullmatch(text.strip())
    size = int(Decimal(match[1]) * UNITS[match[2].lower()]) if match else -1
    if not 0 <= size < 1 << 63:
        raise ValueError(f"{text[:32]!r} is not an amount of memory such as 512m or 2g")
    return size


def format_size(size: int) -> str:
    """Writes an amount so that `parse_size` reads the same."""
    for unit, factor in reversed(UNITS.items()):
        if size and size % factor == 0:
            return f"{size // factor}{unit}"
    return "0"
