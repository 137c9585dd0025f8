"""What is served over HTTP: `/healthz` (the process lives), `/readyz` (every part is well), `/metrics`, and what else
it is given.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import Awaitable, Callable, Iterable, Mapping

from aiohttp import web

from dts.domain.errors import DtsError, Unauthenticated
from dts.pb.dts.v1 import PartStatus
from dts.rpc.http_bounds import BoundedSite, CalmLogger, Handler, HttpLimits, within

log = logging.getLogger(__name__)

STATUS_SECONDS = 5.0
"""How long the parts may take to say how they are; then the answer is that they do not answer."""

_PLAIN = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff", "Server": "dts"}

METRICS_SECONDS = 1.0
"""Whoever asks for figures again so soon is told the same: a stranger must not make them cost much."""

METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8"

Status = Callable[[], Awaitable[list[PartStatus]]]
Figures = Callable[[], Awaitable[bytes]]
Admit = Callable[[Mapping[str, str]], Awaitable[object]]


class HttpServer:
    """Serves the pages; anybody may ask, so one look at the parts answers all who ask meanwhile.

    Args:
        status: says how each part is.
        timeout: seconds that it gets.
        figures: tells the figures of the process as Prometheus reads them; None if they are not told.
        admit: lets pass who may see the figures and more of `/readyz` than a word, by headers with names in lower case;
            None if everybody may.
        routes: what is served beside the pages. Their handlers take bodies and bound them themselves.
        limits: all other bounds.
    """

    def __init__(
        self,
        *,
        status: Status,
        timeout: float = STATUS_SECONDS,
        figures: Figures | None = None,
        admit: Admit | None = None,
        routes: Iterable[web.AbstractRouteDef] = (),
        limits: HttpLimits | None = None,
    ) -> None:
        self._status = status
        self._figures = figures
        self._admit = admit
        self._routes = list(routes)
        self._limits = limits or HttpLimits()
        self._told = (float("-inf"), b"")
        self._timeout = timeout
        self._look: asyncio.Task[list[PartStatus]] | None = None
        self._runner: web.AppRunner | None = None

    async def start(self, host: str, port: int, tls: ssl.SSLContext | None = None) -> int:
        """Listens; returns the port, which the system chooses where 0 is asked for.

        Args:
            host: name or address.
            port: of the pages.
            tls: how callers are met; in the clear if None.

        Raises:
            OSError: the address cannot be had.
            RuntimeError: it was started before.
        """
        if self._runner is not None:
            raise RuntimeError("the server was started before")
        self._runner = runner = web.AppRunner(
            self._app(),
            access_log=None,
            logger=CalmLogger(log, {}),
            handle_signals=False,
            max_line_size=self._limits.header_bytes,
            max_field_size=self._limits.header_bytes,
            max_headers=self._limits.headers,
            keepalive_timeout=self._limits.idle_seconds,
            lingering_time=self._limits.linger_seconds,
            auto_decompress=False,
            handler_cancellation=True,
            shutdown_timeout=1.0,
        )
        await runner.setup()
        await BoundedSite(runner, host, port, connections=self._limits.connections, tls=tls).start()
        return int(runner.addresses[0][1])

    @property
    def connections(self) -> int:
        """How many connections are open."""
        server = self._runner.server if self._runner is not None else None
        return len(server.connections) if server is not None else 0

    async def stop(self) -> None:
        """Closes every connection. May be called twice."""
        await self._look_away()
        if self._runner is not None:
            await self._runner.cleanup()
        await self._look_away()  # from what was begun while the connections were closed

    async def _look_away(self) -> None:
        if self._look is not None:
            self._look.cancel()
            await asyncio.wait([self._look])

    def _app(self) -> web.Application:
        app = web.Application(middlewares=[within(self._limits.stalled_seconds), _refusals])
        app.router.add_get("/healthz", _bodiless(_alive))
        app.router.add_get("/readyz", _bodiless(self._ready))
        if self._figures is not None:
            app.router.add_get("/metrics", _bodiless(self._metrics))
        app.add_routes(self._routes)
        return app

    async def _metrics(self, request: web.Request) -> web.Response:
        assert self._figures is not None
        try:
            await self._check(request)
        except DtsError as error:
            status = 401 if isinstance(error, Unauthenticated) else 403
            return _text(error.message, status, **{"WWW-Authenticate": "Bearer"} if status == 401 else {})
        now = asyncio.get_running_loop().time()
        if now >= self._told[0] + METRICS_SECONDS:
            self._told = (now, await self._figures())
        return web.Response(body=self._told[1], headers={**_PLAIN, "Content-Type": METRICS_TYPE})

    async def _check(self, request: web.Request) -> None:
        if self._admit is not None:
            await self._admit({name.lower(): value for name, value in request.headers.items() if value.isascii()})

    async def _ready(self, request: web.Request) -> web.Response:
        parts = await self._parts()
        well = all(part.well for part in parts)
        status = 200 if well else 503
        try:
            await self._check(request)
        except DtsError:  # hosts, versions and notes are for those who may see them
            return _text("ready" if well else "not ready", status)
        if "application/json" in request.headers.get("Accept", ""):
            answer = {"ready": well, "parts": [_as_json(part) for part in parts]}
            return web.json_response(answer, status=status, headers=_PLAIN)
        return _text("\n".join(_as_line(part) for part in parts), status)

    async def _parts(self) -> list[PartStatus]:
        if self._look is None or self._look.done():
            self._look = asyncio.create_task(self._look_at_parts())
        return await asyncio.shield(self._look)

    async def _look_at_parts(self) -> list[PartStatus]:
        try:
            async with asyncio.timeout(self._timeout):
                parts = await self._status()
        except TimeoutError:
            return [_unwell(f"no answer within {self._timeout:g} s")]
        except DtsError as error:
            return [_unwell(error.message)]
        except Exception:  # a page that says how things are says so whatever is wrong
            log.exception("the status cannot be told")
            return [_unwell("the status cannot be told; the log says why")]
        return parts or [_unwell("no part is known")]


@web.middleware
async def _refusals(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Says what is refused in a line."""
    try:
        return await handler(request)
    except web.HTTPException as error:
        allowed = {"Allow": error.headers["Allow"]} if "Allow" in error.headers else {}
        return _closing(_text(error.reason, error.status, **allowed), request)


def _bodiless(handler: Handler) -> Handler:
    async def handle(request: web.Request) -> web.StreamResponse:
        if request.body_exists:
            return _closing(_text("no body is taken", 413), request)
        return await handler(request)

    return handle


def _closing(response: web.Response, request: web.Request) -> web.Response:
    """The answer; the connection ends with it where a body would still come."""
    if request.body_exists:
        response.force_close()
    return response


async def _alive(_request: web.Request) -> web.Response:
    return _text("ok", 200)


def _text(text: str, status: int, **headers: str) -> web.Response:
    return web.Response(text=text + "\n", status=status, headers={**_PLAIN, **headers})


def _unwell(detail: str) -> PartStatus:
    return PartStatus(part="status", well=False, detail=detail)


def _as_line(part: PartStatus) -> str:
    word = "ok" if part.well else "not well"
    return " ".join(f"{part.part}: {word} {part.detail}".split())


def _as_json(part: PartStatus) -> dict[str, str | bool]:
    return {"part": part.part, "well": part.well, "detail": part.detail}
