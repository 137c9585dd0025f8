"""The cookie of a session, and whether a form comes from a page of ours."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

from aiohttp import web

from dts.roles.gateway.web.session import IDLE, Session, Sessions

IN_THE_CLEAR = "dts_session"
UNDER_TLS = "__Host-dts_session"
"""A browser takes a cookie of such a name only over TLS, from this very host."""

_LOCAL = re.compile(r"/(?![/\\])[A-Za-z0-9._~!$&'()*+,;=:@%/?-]*", re.ASCII)


def session_of(request: web.Request, sessions: Sessions) -> Session | None:
    """The session that a request belongs to."""
    for name in (UNDER_TLS, IN_THE_CLEAR):
        cookie = request.cookies.get(name)
        if cookie and (session := sessions.open(cookie)) is not None:
            return session
    return None


def keep(response: web.StreamResponse, request: web.Request, sealed: str) -> None:
    """Gives the browser the cookie."""
    secure = _is_secure(request)
    response.set_cookie(
        UNDER_TLS if secure else IN_THE_CLEAR,
        sealed,
        max_age=int(IDLE.total_seconds()),
        path="/",
        secure=secure,
        httponly=True,
        samesite="Lax",
    )


def forget(response: web.StreamResponse, request: web.Request) -> None:
    """Takes it away."""
    response.del_cookie(UNDER_TLS, path="/", secure=True, httponly=True, samesite="Lax")
    response.del_cookie(IN_THE_CLEAR, path="/", secure=_is_secure(request), httponly=True, samesite="Lax")


def is_from_here(request: web.Request) -> bool:
    """Whether a page of ours sent a form: browsers say so of themselves, and scripts of others cannot."""
    site = request.headers.get("Sec-Fetch-Site")
    if site is not None:
        return site == "same-origin"
    origin = request.headers.get("Origin")
    return origin is not None and urlsplit(origin).netloc == request.host


def local_path(text: str) -> str:
    """A path of ours; the first page for anything else, so that nobody is led astray by a link to us."""
    return text if _LOCAL.fullmatch(text) else "/"


def _is_secure(request: web.Request) -> bool:
    # What a proxy says here can only make the cookie stricter.
    return request.secure or request.headers.get("X-Forwarded-Proto") == "https"
