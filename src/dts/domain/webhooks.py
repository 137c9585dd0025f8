"""Signatures of webhooks as Standard Webhooks has them: HMAC-SHA256 over id, timestamp and body."""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Callable
from datetime import datetime

KEY_BYTES = 32
_PREFIX = "whsec_"


def new_key(rand: Callable[[int], int]) -> bytes:
    """A key to sign with. rand: so many random bits that nobody can guess."""
    return rand(KEY_BYTES * 8).to_bytes(KEY_BYTES, "big")


def key_word(key: bytes) -> str:
    """A key as it is given to the receiver: `whsec_` and base64."""
    return _PREFIX + base64.b64encode(key).decode()


def signed(message_id: str, at: datetime, body: bytes, key: bytes) -> dict[str, str]:
    """The headers of a message.

    Args:
        message_id: the same at each try, so that the receiver can tell repetitions.
        at: of this try; receivers refuse what is minutes old.
        body: what is sent.
        key: see `new_key`.
    """
    stamp = str(int(at.timestamp()))
    mac = hmac.new(key, f"{message_id}.{stamp}.".encode() + body, hashlib.sha256).digest()
    signature = f"v1,{base64.b64encode(mac).decode()}"
    return {"webhook-id": message_id, "webhook-timestamp": stamp, "webhook-signature": signature}
