"""Page tokens: where the next page begins, opaque to callers."""

from __future__ import annotations

import base64
import binascii
from datetime import datetime
from uuid import UUID

from dts.domain.errors import InvalidArgument
from dts.domain.ids import from_micros, to_micros

TOKEN_BYTES = 24


def encode_token(scheduled_at: datetime, run_id: UUID) -> str:
    """The position after this run."""
    raw = to_micros(scheduled_at).to_bytes(8, "big", signed=True) + run_id.bytes
    return base64.urlsafe_b64encode(raw).decode()


def decode_token(token: str) -> tuple[datetime, UUID]:
    """The position again.

    Raises:
        InvalidArgument: it is not a token of ours.
    """
    try:
        raw = base64.b64decode(token, altchars=b"-_", validate=True)
        if len(raw) == TOKEN_BYTES:
            return from_micros(int.from_bytes(raw[:8], "big", signed=True)), UUID(bytes=raw[8:])
    except (binascii.Error, OverflowError):
        pass
    raise InvalidArgument.of(
        "page_token", "page_token.invalid", "is not a page token: give the one from the last answer"
    )
