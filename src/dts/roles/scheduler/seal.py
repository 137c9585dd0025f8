"""What channels send to and sign with, sealed for the database: who reads it, or a dump of it, learns nothing.

AES-256-GCM (NIST SP 800-38D) with a random nonce of 96 bits. What is sealed for one channel opens for no other.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from dts.domain.errors import FailedPrecondition
from dts.domain.webhooks import KEY_BYTES as SIGNING_BYTES
from dts.pb.dts.v1 import ChannelSecrets

NONCE_BYTES = 12
FORM = b"\x01"
"""The first byte of what is sealed says how it is."""

OPEN = b"\x00"
"""Not at all: a signing key and then the target, of channels that were made before there were seals."""

NAME_BYTES = 4
"""So much of the hash of a key says which one it is."""

NO_KEY = (
    "this scheduler has no key to seal what a channel sends to: DTS_SEAL_KEY_FILE names a file with one, "
    "which `openssl rand -base64 32` makes"
)


class Seal:
    """Closes with the first of its keys and opens with each: a new one is put before the old one.

    Args:
        keys: 32 bytes each; none: nothing can be closed or opened.
        rand: so many random bits that nobody can guess.
    """

    def __init__(self, keys: Sequence[bytes], rand: Callable[[int], int]) -> None:
        self._keys = {_name(key): AESGCM(key) for key in keys}
        self._first = _name(keys[0]) if keys else b""
        self._rand = rand

    def closed(self, channel_id: str, secrets: ChannelSecrets) -> bytes:
        """What only a holder of the key can open, and only for this channel.

        Raises:
            FailedPrecondition: there is no key.
        """
        if not self._keys:
            raise FailedPrecondition(NO_KEY, code="channel.no_key")
        nonce = self._rand(NONCE_BYTES * 8).to_bytes(NONCE_BYTES, "big")
        head = FORM + self._first
        return head + nonce + self._keys[self._first].encrypt(nonce, bytes(secrets), head + channel_id.encode())

    def opened(self, channel_id: str, sealed: bytes) -> ChannelSecrets:
        """The secrets of a channel.

        Raises:
            FailedPrecondition: it was closed with a key that is not there, or for another channel, or it was changed.
        """
        if sealed[:1] == OPEN:
            key, target = sealed[1 : 1 + SIGNING_BYTES], sealed[1 + SIGNING_BYTES :]
            return ChannelSecrets(target=target.decode(), signing_key=key)
        head, rest = sealed[: len(FORM) + NAME_BYTES], sealed[len(FORM) + NAME_BYTES :]
        opener = self._keys.get(head[len(FORM) :]) if head[: len(FORM)] == FORM else None
        if opener is None:
            raise FailedPrecondition(
                "its address was sealed with a key that this scheduler does not have", code="channel.no_key"
            )
        try:
            text = opener.decrypt(rest[:NONCE_BYTES], rest[NONCE_BYTES:], head + channel_id.encode())
        except (InvalidTag, ValueError):
            raise FailedPrecondition(
                "its address cannot be opened: it is not what was sealed", code="channel.broken"
            ) from None
        return ChannelSecrets.parse(text)


def _name(key: bytes) -> bytes:
    return hashlib.sha256(key).digest()[:NAME_BYTES]
