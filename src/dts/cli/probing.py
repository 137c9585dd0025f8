"""Questions to a process about its health. Imports little: a container asks every few seconds."""

from __future__ import annotations

import socket
import ssl
from contextlib import ExitStack
from urllib.parse import urlsplit

MOST_BYTES = 4096
"""As much of an answer is read: its first line is enough."""


class Unwell(Exception):
    """It does not answer, or says that it is not well."""


class NobodyThere(Unwell):
    """Nothing listens."""


class NotSpoken(Unwell):
    """Whoever listens does not speak HTTP."""


def by_http(url: str, timeout: float) -> str:
    """Asks a page; what it says in its first line.

    Args:
        url: `http://HOST:PORT/PATH`, or https. Whose certificate it is does not matter: nothing secret is said.
        timeout: seconds for each step of the conversation.

    Raises:
        Unwell: anything but 200.
    """
    secure, host, port, path = _parsed(url)
    try:
        head, _, body = _fetched(host, port, path, timeout, secure=secure).partition(b"\r\n\r\n")
    except ConnectionRefusedError as error:
        raise NobodyThere(f"{host}:{port}: nobody listens") from error
    except OSError as error:
        raise Unwell(f"{host}:{port}: {error.strerror or 'no answer in time'}") from error
    words = head.split(b"\r\n")[0].decode("ascii", "replace").split(maxsplit=2)
    if len(words) < 2:
        raise NotSpoken(f"{host}:{port}{path}: no answer of HTTP")
    lines = body.decode("utf-8", "replace").splitlines()
    if words[1] != "200":
        raise Unwell(f"{host}:{port}{path}: {' '.join(words[1:])}")
    return lines[0] if lines else "ok"


def by_grpc(address: str, timeout: float) -> str:
    """Asks the health service of gRPC about the whole server.

    Raises:
        Unwell: it does not answer, or does not serve.
    """
    import asyncio

    return asyncio.run(_checked(address, timeout))


def by_either(url: str, address: str, timeout: float) -> str:
    """By HTTP, with TLS where it is not spoken in the clear, and by gRPC where nobody listens.

    Raises:
        Unwell: as the others.
    """
    try:
        return by_http(url, timeout)
    except NobodyThere:
        return by_grpc(address, timeout)
    except NotSpoken:
        return by_http(url.replace("http:", "https:", 1), timeout)


async def _checked(address: str, timeout: float) -> str:  # noqa: ASYNC109 - becomes the deadline of the call
    from grpclib.const import Cardinality
    from grpclib.health.v1 import health_pb2

    from dts.domain.errors import DtsError
    from dts.rpc.address import HostPort
    from dts.rpc.channel import connect
    from dts.rpc.errors import caller_errors

    try:
        channel = connect([HostPort.parse(address)], token=None)
    except ValueError as error:
        raise Unwell(str(error)) from error
    kinds = (Cardinality.UNARY_UNARY, health_pb2.HealthCheckRequest, health_pb2.HealthCheckResponse)
    try:
        with caller_errors(lambda: address):
            async with channel.request("/grpc.health.v1.Health/Check", *kinds, timeout=timeout) as stream:
                await stream.send_message(health_pb2.HealthCheckRequest(), end=True)
                answer = await stream.recv_message()
    except DtsError as error:
        raise Unwell(error.message) from error
    finally:
        channel.close()
    if answer is None or answer.status != health_pb2.HealthCheckResponse.SERVING:
        raise Unwell(f"{address}: not serving")
    return "serving"


def _unchecked() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


def _parsed(url: str) -> tuple[bool, str, int, str]:
    try:
        parts = urlsplit(url)
        secure = parts.scheme == "https"
        host, port = parts.hostname, parts.port or (443 if secure else 80)
    except ValueError:
        secure, host, port = False, None, 0
    if (
        host is None
        or parts.scheme not in ("http", "https")
        or not url.isascii()
        or any(c.isspace() or ord(c) < 33 for c in url)
    ):
        raise Unwell("the URL must be http://HOST:PORT/PATH or https")
    return secure, host, port, parts.path or "/"


def _fetched(host: str, port: int, path: str, timeout: float, *, secure: bool) -> bytes:
    with ExitStack() as stack:
        connection = stack.enter_context(socket.create_connection((host, port), timeout))
        if secure:
            connection = stack.enter_context(_unchecked().wrap_socket(connection))
        name = f"[{host}]" if ":" in host else host
        connection.sendall(f"GET {path} HTTP/1.1\r\nHost: {name}:{port}\r\nConnection: close\r\n\r\n".encode("ascii"))
        answer = b""
        while len(answer) < MOST_BYTES and (more := connection.recv(MOST_BYTES)):
            answer += more
        return answer
