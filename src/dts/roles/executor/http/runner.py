"""Runs requests over HTTP. They end with the executor: one that is killed meanwhile cannot say how they ended."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from datetime import timedelta
from urllib.parse import quote
from uuid import UUID

from yarl import URL

from dts.domain.node_policy import NodePolicy, allowed_address, http_denials
from dts.domain.template import Value
from dts.domain.validate_http import url_trouble
from dts.domain.validate_text import text_trouble
from dts.pb.dts.v1 import HttpKind, LogStream
from dts.roles.executor.container.config import deny, invalid, rendered
from dts.roles.executor.process.world import template_values
from dts.roles.executor.work import Emit, Ended, Job, Work
from dts.runtime.outbound import STATUS, Address, Request, RequestFailed, addresses_of, pieces, sent

SUCCESS = range(200, 300)

Key = tuple[UUID, int]


class HttpRunner:
    """Runs the kind `http`.

    Args:
        node: name of this one.
        monotonic: seconds that never go back.
        policy: where requests of this node may go.
    """

    def __init__(
        self, *, node: str, monotonic: Callable[[], float], policy: Callable[[], NodePolicy] = NodePolicy
    ) -> None:
        self._node = node
        self._monotonic = monotonic
        self._policy = policy

    async def missing(self) -> str:
        """Nothing ever is."""
        return ""

    async def prepare(self, job: Job) -> Work:
        """The request, with its templates filled in.

        Raises:
            Refused: the definition is wrong, or the host is not allowed.
        """
        kind = job.spec.kind.http if job.spec.kind else None
        if kind is None or url_trouble(kind.url):
            raise invalid(f"the address of the request {url_trouble(kind.url) if kind else 'is missing'}")
        request = _request(kind, template_values(job, node=self._node))
        deny(http_denials(self._policy(), request.host), self._node)
        return HttpWork(
            request, kind.expect or SUCCESS, node=self._node, monotonic=self._monotonic, policy=self._policy
        )

    async def find(self, jobs: Sequence[Job]) -> dict[Key, Work]:  # noqa: ARG002 - the protocol has one
        """None: a request ends with its executor."""
        return {}


class HttpWork:
    """One request.

    Args:
        request: what is sent.
        expect: status codes that are a success.
        node: name of this one.
        monotonic: seconds that never go back.
        policy: where requests of this node may go.
    """

    def __init__(
        self,
        request: Request,
        expect: Sequence[int],
        *,
        node: str,
        monotonic: Callable[[], float],
        policy: Callable[[], NodePolicy],
    ) -> None:
        self._request = request
        self._expect = expect
        self._node = node
        self._monotonic = monotonic
        self._policy = policy
        self._addresses: list[Address] | RequestFailed = []
        self._over = asyncio.Event()
        self._sending: asyncio.Task[int] | None = None

    @property
    def handle(self) -> str:
        """There is none."""
        return ""

    @property
    def image_digest(self) -> str:
        """There is none."""
        return ""

    async def start(self) -> None:
        """Looks where the request would go.

        Raises:
            Refused: the node's policy allows none of the host's addresses.
        """
        host = self._request.host
        try:
            found = await addresses_of(host, self._request.port)
        except RequestFailed as failed:
            self._addresses = failed
            return
        policy = self._policy()
        self._addresses = [one for one in found if allowed_address(policy, one[1])]
        if not self._addresses:
            shown = ", ".join(address for _, address in found[:4])
            deny([f"{host}: its address {shown} is not a public one (private_addresses)"], self._node)

    async def started_ago(self) -> timedelta | None:
        """Nobody but this process knows."""
        return None

    async def wait(self, emit: Emit) -> Ended:
        """Sends it; the body of the answer is what it prints. Exit codes are those of curl, 22 for a bad status."""
        sending = asyncio.create_task(self._sent(emit), name=f"request to {self._request.host}")
        stopped = asyncio.create_task(self._over.wait())
        try:
            await asyncio.wait([sending, stopped], return_when=asyncio.FIRST_COMPLETED)
            return sending.result() if sending.done() else Ended(None)
        finally:
            stopped.cancel()
            sending.cancel()
            await asyncio.wait([sending])

    async def stop(self, *, grace: timedelta) -> None:  # noqa: ARG002 - a connection is closed at once
        """Closes the connection."""
        self._over.set()

    async def kill(self) -> None:
        """Closes the connection."""
        self._over.set()

    async def discard(self) -> None:
        """Nothing is left of it."""

    async def _sent(self, emit: Emit) -> Ended:
        try:
            return await self._answered(emit)
        except RequestFailed as failed:
            await emit(LogStream.STDERR, f"{failed.message}\n".encode())
            return Ended(failed.code, why=failed.message)

    async def _answered(self, emit: Emit) -> Ended:
        if isinstance(self._addresses, RequestFailed):
            raise self._addresses
        asked = self._monotonic()
        async with sent(self._request, self._addresses) as response:
            took = round((self._monotonic() - asked) * 1000)
            words = f"{self._request.method} {self._request.host}: {response.status} {response.reason}, {took} ms\n"
            await emit(LogStream.STDERR, words.encode(errors="replace"))
            async for piece in pieces(response):
                await emit(LogStream.STDOUT, piece)
            if response.status in self._expect:
                return Ended(0)
            return Ended(STATUS, why=f"the answer was {response.status} {response.reason}")


def _request(kind: HttpKind, values: dict[str, Value]) -> Request:
    headers = {name: rendered(text, values, f"the header {name}") for name, text in kind.headers.items()}
    for name, value in headers.items():
        if trouble := text_trouble(value, lines=False):
            raise invalid(f"the header {name} {trouble}")
    return Request(
        method=kind.method or ("POST" if kind.body else "GET"),
        url=_address(rendered(kind.url, _quoted(values), "the address")),
        headers=headers,
        body=rendered(kind.body, values, "the body"),
    )


def _address(text: str) -> URL:
    """What must not stand in an address is encoded; the rest goes out as it was written: it may have been signed."""
    return URL(quote(text, safe="%/:?@!$&'()*+,;=[]~"), encoded=True)


def _quoted(values: dict[str, Value]) -> dict[str, Value]:
    """So that no value can say more than it is meant to: not another host, nor another parameter."""
    return {name: quote(value, safe="") if isinstance(value, str) else value for name, value in values.items()}
