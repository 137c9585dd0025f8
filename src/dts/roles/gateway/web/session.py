"""Sessions without a table: what a browser keeps is the person's token, sealed so that only a gateway can open it.

Every gateway of an installation has the same key, so any of them takes the cookie of any other, and none forgets it
when it is started anew. The token inside is judged at each call: revoking it ends the session.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

IDLE = timedelta(hours=12)
"""A session that is not used for so long is over."""

LONGEST = timedelta(days=7)
"""After so long everybody signs in again."""

RENEW_AFTER = IDLE / 12
"""A cookie that is older is sealed anew, so that who works does not fall out."""

NONCE_BYTES = 12
ID_BYTES = 16


@dataclass(frozen=True, slots=True)
class Session:
    """What is sealed.

    id: binds the forms of a session to it.
    began: when the person signed in. sealed: when the cookie was made.
    """

    id: str
    token: str
    began: datetime
    sealed: datetime


class Sessions:
    """Seals and opens.

    Args:
        secret: what all gateways of an installation share and nobody else knows.
        now: the wall clock.
        rand: so many random bits that nobody can guess.
    """

    def __init__(self, secret: bytes, *, now: Callable[[], datetime], rand: Callable[[int], int]) -> None:
        self._sealing = AESGCM(_derived(secret, b"dts session"))
        self._forms = _derived(secret, b"dts form")
        self._now = now
        self._rand = rand

    def begin(self, token: str) -> Session:
        """A new session for whoever has shown this token."""
        now = self._now()
        return Session(self._random(ID_BYTES).hex(), token, now, now)

    def seal(self, session: Session) -> str:
        """The value of the cookie."""
        content = {
            "id": session.id,
            "token": session.token,
            "began": session.began.timestamp(),
            "sealed": self._now().timestamp(),
        }
        nonce = self._random(NONCE_BYTES)
        return _text(nonce + self._sealing.encrypt(nonce, json.dumps(content).encode(), None))

    def open(self, cookie: str) -> Session | None:
        """The session of a cookie; None if it is not one of ours, or is over."""
        try:
            raw = base64.urlsafe_b64decode(cookie + "=" * (-len(cookie) % 4))
            content = json.loads(self._sealing.decrypt(raw[:NONCE_BYTES], raw[NONCE_BYTES:], None))
        except (InvalidTag, ValueError, binascii.Error):
            return None
        began, sealed = (datetime.fromtimestamp(content[name], self._now().tzinfo) for name in ("began", "sealed"))
        session = Session(content["id"], content["token"], began, sealed)
        over = self._now() > min(sealed + IDLE, began + LONGEST)
        return None if over else session

    def is_old(self, session: Session) -> bool:
        """Whether its cookie should be sealed anew."""
        return self._now() > session.sealed + RENEW_AFTER

    def form_token(self, session: Session) -> str:
        """What a form of this session carries. Each is another text: it stands in pages that may be compressed."""
        salt = self._random(NONCE_BYTES)
        return _text(salt + self._signature(session, salt))

    def is_form_token(self, session: Session, text: str) -> bool:
        """Whether a form comes from a page of this session."""
        try:
            raw = base64.urlsafe_b64decode(text.encode() + b"=" * (-len(text) % 4))
        except ValueError:
            return False
        return hmac.compare_digest(raw[NONCE_BYTES:], self._signature(session, raw[:NONCE_BYTES]))

    def _signature(self, session: Session, salt: bytes) -> bytes:
        return hmac.digest(self._forms, salt + session.id.encode(), "sha256")

    def _random(self, count: int) -> bytes:
        return self._rand(8 * count).to_bytes(count, "big")


def _derived(secret: bytes, purpose: bytes) -> bytes:
    return hmac.digest(hashlib.sha256(secret).digest(), purpose, "sha256")


def _text(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")
