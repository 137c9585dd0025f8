"""Health for those who cannot speak gRPC: `/healthz` (the process lives) and `/readyz` (every part is well)."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from aiohttp import web

from dts.domain.errors import DtsError
from dts.pb.dts.v1 import GetStatusResponse, PartStatus

log = logging.getLogger(__name__)

STATUS_SECONDS = 5.0
"""How long the parts may take to say how they are; then the answer is that they do not answer."""

HEADER_BYTES = 4096
"""Size of the request line, and of each header."""

HEADERS = 32
"""Number of headers of a request."""

IDLE_SECONDS = 15.0
"""A connection without a request is closed after so long."""

_PLAIN = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff", "Server": "dts"}

Status = Callable[[], Awaitable[GetStatusResponse]]
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class HttpServer:
    """Serves the two pages; anybody may ask, so one look at the parts answers all who ask meanwhile.

    Args:
        status: says how each part is.
        timeout: seconds that it gets.
    """

    def __init__(self, *, status: Status, timeout: float = STATUS_SECONDS) -> None:
        self._status = status
        self._timeout = timeout
        self._look: asyncio.Task[list[PartStatus]] | None = None
        self._runner: web.AppRunner | None = None

    async def start(self, host: str, port: int) -> int:
        """Listens; returns the port, which the system chooses where 0 is asked for.

        Raises:
            OSError: the address cannot be had.
            RuntimeError: it was started before.
        """
        if self._runner is not None:
            raise RuntimeError("the server was started before")
        self._runner = runner = web.AppRunner(
            self._app(),
            access_log=None,
            handle_signals=False,
            max_line_size=HEADER_BYTES,
            max_field_size=HEADER_BYTES,
            max_headers=HEADERS,
            keepalive_timeout=IDLE_SECONDS,
            lingering_time=0,
            shutdown_timeout=1.0,
        )
        await runner.setup()
        await web.TCPSite(runner, host, port).start()
        return int(runner.addresses[0][1])

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
        app = web.Application(client_max_size=HEADER_BYTES, middlewares=[_bounded])
        app.router.add_get("/healthz", _alive)
        app.router.add_get("/readyz", self._ready)
        return app

    async def _ready(self, request: web.Request) -> web.Response:
        parts = await self._parts()
        well = all(part.well for part in parts)
        status = 200 if well else 503
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
                parts = (await self._status()).parts
        except TimeoutError:
            return [_unwell(f"no answer within {self._timeout:g} s")]
        except DtsError as error:
            return [_unwell(error.message)]
        except Exception:  # a page that says how things are says so whatever is wrong
            log.exception("the status cannot be told")
            return [_unwell("the status cannot be told; the log says why")]
        return parts or [_unwell("no part is known")]


@web.middleware
async def _bounded(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Refuses bodies, and says what is refused in a line."""
    if request.body_exists:
        response = _text("no body is taken", 413)
        response.force_close()
        return response
    try:
        return await handler(request)
    except web.HTTPException as error:
        allowed = {"Allow": error.headers["Allow"]} if "Allow" in error.headers else {}
        return _text(error.reason, error.status, **allowed)


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
