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
    cookie = request.cookies.get(_name(request))
    return sessions.open(cookie) if cookie else None


def keep(response: web.StreamResponse, request: web.Request, sealed: str) -> None:
    """Gives the browser the cookie."""
    secure = _is_secure(request)
    response.set_cookie(
        _name(request),
        sealed,
        max_age=int(IDLE.total_seconds()),
        path="/",
        secure=secure,
        httponly=True,
        samesite="Lax",
    )


def forget(response: web.StreamResponse, request: web.Request) -> None:
    """Takes away what the request showed: what another site made the browser send shows nothing, and ends nothing."""
    for name in (UNDER_TLS, IN_THE_CLEAR):
        if name in request.cookies:
            secure = name == UNDER_TLS or _is_secure(request)
            response.del_cookie(name, path="/", secure=secure, httponly=True, samesite="Lax")


def is_from_here(request: web.Request) -> bool:
    """Whether a page of ours sent a form: browsers say so of themselves, and scripts of others cannot."""
    site = request.headers.get("Sec-Fetch-Site")
    if site is not None:
        return site == "same-origin"
    origin = request.headers.get("Origin")
    try:
        return origin is not None and urlsplit(origin).netloc == request.host
    except ValueError:
        return False


def local_path(text: str) -> str:
    """A path of ours; the first page for anything else, so that nobody is led astray by a link to us."""
    return text if _LOCAL.fullmatch(text) else "/"


def _name(request: web.Request) -> str:
    # Under TLS the plain one is not taken: a host beside this one could have set it.
    return UNDER_TLS if _is_secure(request) else IN_THE_CLEAR


def _is_secure(request: web.Request) -> bool:
    # What a proxy says here can only make the cookie stricter.
    return request.secure or request.headers.get("X-Forwarded-Proto") == "https"
