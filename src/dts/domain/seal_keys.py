"""Keys that seal what the database must not know, as they stand in a file."""

from __future__ import annotations

import base64
from collections.abc import Callable

KEY_BYTES = 32


def keys_of(text: str) -> tuple[bytes, ...]:
    """The keys of a file: base64, one in a line, first the one that closes.

    Raises:
        ValueError: it says what a line should be; the text is not in it.
    """
    keys = tuple(_key(line) for line in text.split())
    if not all(keys):
        raise ValueError(f"names a file with a line that is no key; `openssl rand -base64 {KEY_BYTES}` makes one")
    return keys


def new_key_line(rand: Callable[[int], int]) -> str:
    """A new key as a line. rand: so many random bits that nobody can guess."""
    return base64.b64encode(rand(KEY_BYTES * 8).to_bytes(KEY_BYTES, "big")).decode() + "\n"


def _key(line: str) -> bytes:
    try:
        key = base64.b64decode(line, validate=True)
    except ValueError:
        return b""
    return key if len(key) == KEY_BYTES else b""
