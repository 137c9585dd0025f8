"""The hub: every executor that is attached to this replica."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from dataclasses import replace

from dts.domain.columns import count_ids
from dts.domain.errors import FailedPrecondition, InvalidArgument
from dts.pb.dts.v1 import (
    AttachRequest,
    AttachResponse,
    AttemptKeys,
    Hello,
    Node,
    NodeOffer,
    Recall,
    RecordRequest,
    RegisterNodeRequest,
    RegisterNodeResponse,
    Reports,
    StoreSwarmRequest,
    TakeBackRequest,
)
from dts.roles.scheduler import checks
from dts.roles.scheduler.ports import Ledger
from dts.roles.scheduler.session import LEASE, Session
from dts.rpc.caller import check_node

log = logging.getLogger(__name__)


class Hub:
    """Sessions by node. `room_freed` is called when a node could take more than before."""

    def __init__(self, ledger: Ledger, *, monotonic: Callable[[], float]) -> None:
        self._ledger = ledger
        self._monotonic = monotonic
        self._sessions: dict[str, Session] = {}
        self._closed = False
        self.room_freed: Callable[[], None] = lambda: None
        self.heard: Callable[[], None] = lambda: None

    @property
    def sessions(self) -> list[Session]:
        """Every attached executor."""
        return list(self._sessions.values())

    def session(self, node_id: str) -> Session | None:
        """The executor of a node, if it is attached here."""
        return self._sessions.get(node_id)

    def offers(self) -> list[NodeOffer]:
        """What the attached nodes could take."""
        return [offer for session in self.sessions if (offer := session.offer())]

    def close(self) -> None:
        """Ends all sessions: their executors dial another replica."""
        self._closed = True
        for session in self.sessions:
            session.close()

    async def attach(self, messages: AsyncIterator[AttachRequest]) -> AsyncIterator[AttachResponse]:
        """Serves one executor until either side ends the stream.

        Raises:
            PermissionDenied: the executor's certificate is for another node.
        """
        hello = await _hello(messages)
        check_node(hello.node.id if hello.node else "")
        session = await self._register(hello)
        reader = asyncio.create_task(self._read(session, messages), name=f"attach {session.node.hostname}")
        reader.add_done_callback(lambda _: session.close())
        try:
            while (response := await session.next_response()) is not None:
                yield response
            if reader.done() and not reader.cancelled() and (error := reader.exception()):
                raise error
        finally:
            reader.cancel()
            self._forget(session)

    async def _register(self, hello: Hello) -> Session:
        if self._closed:
            raise FailedPrecondition("this scheduler is stopping: dial another one", code="scheduler.stopping")
        session = Session(hello.node or Node(), self._monotonic)
        registered = await self._ledger.register_node(RegisterNodeRequest(hello=hello, lease=LEASE))
        read_at = self._monotonic()  # or earlier: see Duties.claim
        elder = self._sessions.get(session.node.id)
        if elder is not None:
            elder.close()
        self._sessions[session.node.id] = session
        log.info("node %s attached (incarnation %s)", session.node.hostname, session.node.incarnation)
        session.welcome(registered.now)
        session.adopt(registered.weights, _held(hello, registered))
        for recall in registered.recalls:  # first: what is sent again must not begin beside what runs without leave
            session.recall(recall)
        if registered.resend is not None:
            session.send_again(registered.resend, read_at=read_at)
        self.room_freed()
        self.heard()
        return session

    def _forget(self, session: Session) -> None:
        if self._sessions.get(session.node.id) is session:
            del self._sessions[session.node.id]
            log.info("node %s is no longer attached", session.node.hostname)

    async def _read(self, session: Session, messages: AsyncIterator[AttachRequest]) -> None:
        async for message in messages:
            if message.reports is not None:
                await self._record(session, message.reports)
            elif message.heartbeat is not None:
                targets = checks.possible_targets(message.heartbeat.targets)
                session.heard(replace(message.heartbeat, targets=targets))
                self.heard()
            elif message.recalled is not None:
                await self._take_back(session, message.recalled)
            elif message.swarm is not None and message.swarm.nodes:
                told = StoreSwarmRequest(nodes=message.swarm.nodes, node_id=session.node.id)
                await self._ledger.store_swarm(told)
                self.heard()

    async def _record(self, session: Session, reports: Reports) -> None:
        request = RecordRequest(node_id=session.node.id, incarnation=session.node.incarnation, reports=reports)
        response = await self._ledger.record(request)
        if response.settled is not None:
            session.settle(response.settled)
            self.room_freed()
        if response.fenced is not None and response.fenced.run_ids:
            session.recall(Recall(attempts=response.fenced, fenced=True))
            session.release(response.fenced)  # nobody speaks of them again
            self.room_freed()

    async def _take_back(self, session: Session, keys: AttemptKeys) -> None:
        request = TakeBackRequest(node_id=session.node.id, incarnation=session.node.incarnation, attempts=keys)
        await self._ledger.take_back(request)
        session.release(keys)
        self.room_freed()


async def _hello(messages: AsyncIterator[AttachRequest]) -> Hello:
    async for first in messages:
        if first.hello is not None and first.hello.node is not None:
            checks.check_hello(first.hello)
            return first.hello
        break
    raise InvalidArgument.of("hello", "attach.hello", "is the first message of an executor, and names its node")


def _held(hello: Hello, registered: RegisterNodeResponse) -> int:
    """How many attempts the node holds for us once everything that was sent has reached it."""
    held = count_ids(hello.held.run_ids) if hello.held else 0
    again = count_ids(registered.resend.run_ids) if registered.resend else 0
    # What is asked back takes its room until the node answers; strangers are not ours.
    recalled = sum(
        count_ids(recall.attempts.run_ids) * (-1 if recall.fenced else 1)
        for recall in registered.recalls
        if recall.attempts
    )
    return held + again + recalled
