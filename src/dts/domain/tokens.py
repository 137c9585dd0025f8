"""Access tokens: what their secrets look like, and what is kept of them."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from uuid import UUID

from dts.pb.dts.v1 import AccessToken, Scope, StoreTokenRequest

SECRET_BITS = 256
TTL = timedelta(days=90)
LEAST_TTL = timedelta(minutes=1)
MOST_TTL = timedelta(days=366)
"""A year, leap years included."""

FIRST_ADMIN = "first-admin"
"""The name of the token that is made before there is anybody who could make one."""

SHOWN = 12
"""How much of a secret is kept to tell tokens apart: 48 of its 256 bits."""

_SECRET = re.compile(r"dts_[A-Za-z0-9_-]{43}", re.ASCII)


def new_secret(rand: Callable[[int], int]) -> str:
    """`dts_` and 256 random bits that need no quotes in a URL, a header or a shell. rand: bits nobody can guess."""
    bits = rand(SECRET_BITS).to_bytes(SECRET_BITS // 8, "big")
    return "dts_" + base64.urlsafe_b64encode(bits).decode().rstrip("=")


def is_secret(text: str) -> bool:
    """Whether it looks like one."""
    return _SECRET.fullmatch(text) is not None


def hash_of(secret: str) -> bytes:
    """What is kept of a secret. It is random, so nothing slower than SHA-256 is needed against guessing."""
    return hashlib.sha256(secret.encode()).digest()


def storing(token: AccessToken, secret: str, *, ttl: timedelta, first_admin: bool = False) -> StoreTokenRequest:
    """What stores a token: its hash and its beginning in place of its secret."""
    shown = replace(token, prefix=secret[:SHOWN])
    return StoreTokenRequest(token=shown, sha256=hash_of(secret), ttl=ttl, first_admin=first_admin)


def first_admin(secret: str, token_id: UUID) -> StoreTokenRequest:
    """What stores, once, the first admin token: its secret was chosen by whoever installs dts."""
    token = AccessToken(id=str(token_id), name=FIRST_ADMIN, scope=Scope.ADMIN, created_by="dts")
    return storing(token, secret, ttl=MOST_TTL, first_admin=True)
