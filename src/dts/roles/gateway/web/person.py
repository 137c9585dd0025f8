"""Whoever is signed in, and the services as that person calls them.

Nothing is allowed here that is not allowed by gRPC: each call is judged by the gate with the person's own token, so a
token that was revoked meanwhile stops a page that is open.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, cast

from dts.domain.access import Caller, authorise, scope_word
from dts.domain.errors import PermissionDenied
from dts.pb.dts.v1 import SchedulerServiceBase, Scope, TaskDefinitionServiceBase
from dts.rpc.auth import bearer
from dts.rpc.gate import Gate
from dts.runtime.clock import monotonic


@dataclass(frozen=True, slots=True)
class Services:
    """What pages are made of: the services themselves, or stubs that say for whom they call."""

    tasks: TaskDefinitionServiceBase
    runs: SchedulerServiceBase


class Person:
    """One who is signed in.

    Args:
        gate: judges each call.
        token: the person's own.
        caller: who that is.
        services: what is called.

    Attributes:
        tasks, runs: the services as this person calls them.
    """

    def __init__(self, gate: Gate, token: str, caller: Caller, services: Services) -> None:
        self.caller = caller
        headers = bearer(token)
        tasks = _Judged(gate, headers, TaskDefinitionServiceBase, services.tasks)
        runs = _Judged(gate, headers, SchedulerServiceBase, services.runs)
        self.tasks = cast("TaskDefinitionServiceBase", tasks)
        self.runs = cast("SchedulerServiceBase", runs)

    @property
    def name(self) -> str:
        """As the history of a task names them."""
        return self.caller.name

    @property
    def scope(self) -> str:
        """viewer, operator or admin."""
        return scope_word(self.caller.scope or Scope.UNSPECIFIED)

    @property
    def operates(self) -> bool:
        """Whether buttons that change something are of use: the gate decides whether they work."""
        try:
            authorise(self.caller, "/dts.v1.SchedulerService/TriggerTask")
        except PermissionDenied:
            return False
        return True


class _Judged:
    """Has the methods of a service; each call passes the gate first."""

    def __init__(self, gate: Gate, headers: dict[str, str], base: type, service: object) -> None:
        self._gate = gate
        self._headers = headers
        self._base = base
        self._service = service

    def __getattr__(self, name: str) -> Any:
        contract = getattr(self._base, name)
        route = f"/dts.v1.{self._base.__name__.removesuffix('Base')}/{name.title().replace('_', '')}"
        method = getattr(self._service, name)

        async def one(message: Any, /) -> Any:
            await self._gate.check(route, self._headers, None)
            return await method(message)

        async def judge() -> None:
            await self._gate.check(route, self._headers, None)

        async def many(message: Any, /) -> AsyncIterator[Any]:
            await judge()
            async with aclosing(method(message)) as answers:
                async for answer in judged_again(answers, judge, every=self._gate.recheck_seconds):
                    yield answer

        return many if inspect.isasyncgenfunction(contract) else one


async def judged_again(
    answers: AsyncIterator[Any], judge: Callable[[], Awaitable[None]], *, every: float
) -> AsyncIterator[Any]:
    """Hands on what a stream says as long as its caller may hear it: a silent one must not outlive its token either.

    Raises:
        DtsError: as `judge` does.
    """
    due = monotonic() + every
    coming: asyncio.Future[Any] | None = None
    try:
        while True:
            coming = coming or asyncio.ensure_future(_next(answers))
            await asyncio.wait([coming], timeout=max(due - monotonic(), 0))
            if monotonic() >= due:
                await judge()
                due = monotonic() + every
            if coming.done():
                answer, coming = coming.result(), None
                if answer is _END:
                    return
                yield answer
    finally:
        if coming is not None:
            coming.cancel()
            await asyncio.wait([coming])


async def _next(answers: AsyncIterator[Any]) -> Any:
    return await anext(answers, _END)


_END = object()
