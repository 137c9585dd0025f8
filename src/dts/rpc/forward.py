"""Calls carried on to another server as they are: nothing is read, so a newer caller and a newer service may pass."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from functools import partial
from typing import Any

from grpclib.const import Cardinality, Handler, Status
from grpclib.exceptions import GRPCError
from grpclib.metadata import Deadline

from dts.domain.errors import FailedPrecondition
from dts.rpc.call import Call
from dts.rpc.channel import Channel
from dts.rpc.codec import Raw
from dts.rpc.errors import line_errors
from dts.rpc.stubs import UNARY_SECONDS


class Forwarder:
    """Serves the routes of a service by calling the same routes elsewhere.

    The caller's deadline and its cancellation go along, statuses and their details come back unchanged. Calls with
    several requests are not carried: those are between roles.

    Args:
        routes: of the service, as its generated base class maps them.
        channel: to the server that answers.
        timeout: deadline in seconds of calls with one answer whose caller set none.
    """

    def __init__(self, routes: Mapping[str, Handler], channel: Channel, *, timeout: float = UNARY_SECONDS) -> None:
        self._channel = channel
        self._timeout = timeout
        self._routes = {
            route: Handler(partial(self._carry, route), handler.cardinality, Raw, Raw)
            for route, handler in routes.items()
            if not handler.cardinality.client_streaming
        }

    def __mapping__(self) -> Mapping[str, Handler]:
        """The handler of each route."""
        return self._routes

    async def _carry(self, route: str, call: Call) -> None:
        request = await call.recv_message()
        async with aclosing(self._answers(route, request, call.deadline)) as answers:
            async for answer in answers:
                await call.send_message(answer)

    async def _answers(self, route: str, request: Raw, deadline: Deadline | None) -> AsyncGenerator[Any, None]:
        cardinality = self._routes[route].cardinality
        if deadline is None and cardinality is Cardinality.UNARY_UNARY:
            deadline = Deadline.from_timeout(self._timeout)
        try:
            with line_errors(lambda: self._channel.peer):
                async with self._channel.request(route, cardinality, Raw, Raw, deadline=deadline) as stream:
                    await stream.send_message(request, end=True)
                    async for answer in stream:
                        yield answer
        except GRPCError as error:
            if error.status is Status.UNAUTHENTICATED:  # our token, not the caller's
                raise self._not_let_in() from error
            raise

    def _not_let_in(self) -> FailedPrecondition:
        why = f"{self._channel.peer} does not take the gateway's token; every process of an installation needs the same"
        return FailedPrecondition(why, code="gateway.token")
