"""One request over HTTP: to addresses that were looked at first, and to no other."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

CONNECT_SECONDS = 30.0
RESOLVE_SECONDS = 30.0
CHUNK = 64 * 1024

RESOLVE, CONNECT, STATUS, CONNECT_TIMEOUT, TLS, RECEIVE, CERTIFICATE = 6, 7, 22, 28, 35, 56, 60
"""Exit codes, as curl has them."""

Address = tuple[socket.AddressFamily, str]


class RequestFailed(Exception):
    """There is no whole answer. code: the exit code of curl for it."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


@dataclass(frozen=True, slots=True)
class Request:
    """What is sent. headers and body as they go out."""

    method: str
    url: URL
    headers: Mapping[str, str] = field(default_factory=dict)
    body: str = ""

    @property
    def host(self) -> str:
        """The host of the address, as it is asked for."""
        return self.url.raw_host or ""

    @property
    def port(self) -> int:
        """The port of the address."""
        return self.url.port or 0


async def addresses_of(host: str, port: int) -> list[Address]:
    """The addresses of a host, by the resolver of this machine, without repetitions.

    Raises:
        RequestFailed: it has none.
    """
    try:
        async with asyncio.timeout(RESOLVE_SECONDS):
            found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except TimeoutError:
        raise RequestFailed(RESOLVE, f"the name {host} was not resolved within {RESOLVE_SECONDS:g} s") from None
    except (OSError, UnicodeError) as error:
        words = error.strerror if isinstance(error, OSError) and error.strerror else "it is no name of a host"
        raise RequestFailed(RESOLVE, f"the name {host} cannot be resolved: {words}") from error
    return list(dict.fromkeys((family, str(address[0])) for family, _, _, _, address in found))


@asynccontextmanager
async def sent(request: Request, addresses: Sequence[Address]) -> AsyncIterator[aiohttp.ClientResponse]:
    """Sends a request to one of these addresses, and no other: the name is not resolved again, nor a redirection
    followed, nor a proxy of the environment asked.

    Raises:
        RequestFailed: no answer came, or it broke off.
    """
    timeout = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECONDS)
    connector = aiohttp.TCPConnector(resolver=_Pinned(addresses), use_dns_cache=False, force_close=True)
    try:
        async with (
            aiohttp.ClientSession(
                connector=connector,
                timeout=timeout,
                cookie_jar=aiohttp.DummyCookieJar(),
                trust_env=False,
                auto_decompress=False,
            ) as session,
            session.request(
                request.method,
                request.url,
                headers={"User-Agent": "dts", "Accept": "*/*", "Accept-Encoding": "identity", **request.headers},
                data=request.body.encode() if request.body else None,
                allow_redirects=False,
            ) as response,
        ):
            yield response
    except (aiohttp.ClientError, OSError) as error:
        raise _failure(error, request) from error


async def pieces(response: aiohttp.ClientResponse) -> AsyncIterator[bytes]:
    """The body of an answer as it comes."""
    async for piece in response.content.iter_chunked(CHUNK):
        yield piece


class _Pinned(AbstractResolver):
    """Knows one answer."""

    def __init__(self, addresses: Sequence[Address]) -> None:
        self._addresses = addresses

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        return [
            ResolveResult(hostname=host, host=address, port=port, family=its, proto=0, flags=socket.AI_NUMERICHOST)
            for its, address in self._addresses
            if family in {socket.AF_UNSPEC, its}
        ]

    async def close(self) -> None:
        """Holds nothing."""


def _failure(error: Exception, request: Request) -> RequestFailed:
    where = f"{request.host}:{request.port}"
    match error:
        case aiohttp.ServerTimeoutError() | TimeoutError():
            return RequestFailed(CONNECT_TIMEOUT, f"{where} did not answer within {CONNECT_SECONDS:g} s")
        case aiohttp.ClientConnectorCertificateError():
            return RequestFailed(CERTIFICATE, f"the certificate of {where} is not to be trusted: {_words(error)}")
        case aiohttp.ClientConnectorSSLError():
            return RequestFailed(TLS, f"{where} did not agree on TLS: {_words(error)}")
        case aiohttp.ClientConnectorError():
            return RequestFailed(CONNECT, f"{where} cannot be reached: {_words(error)}")
        case _:
            return RequestFailed(RECEIVE, f"{where} broke off its answer, or sent none that is HTTP: {_words(error)}")


def _words(error: Exception) -> str:
    """What the operating system or TLS said."""
    cause = getattr(error, "certificate_error", None) or getattr(error, "os_error", None) or error
    words = getattr(cause, "verify_message", None) or getattr(cause, "reason", None) or getattr(cause, "strerror", None)
    # What the library says of itself may have the whole address in it, and that may be a secret.
    return str(words or _CAUSES.get(type(cause)) or type(cause).__name__)[:200]


_CAUSES: dict[type[BaseException], str] = {
    aiohttp.ServerDisconnectedError: "it ended the connection",
    aiohttp.ClientResponseError: "what came is no HTTP",
    aiohttp.ClientPayloadError: "the body is not whole",
}
