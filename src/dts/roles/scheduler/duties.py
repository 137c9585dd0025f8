"""The duties of a scheduler replica, each one pass at a time. Every replica does all of them; none is special."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from datetime import timedelta

from dts.domain.ledger import HORIZON
from dts.pb.dts.v1 import (
    ClaimRequest,
    ClaimResponse,
    FindOverdueRequest,
    FindRecallsRequest,
    MaintainRequest,
    MaterialiseRequest,
    NodeAssignments,
    NodeOffer,
    RenewLeasesRequest,
    SweepRequest,
)
from dts.roles.scheduler.hub import Hub
from dts.roles.scheduler.ports import Ledger
from dts.roles.scheduler.session import LEASE, Session
from dts.runtime.loop import Again

LEAD = timedelta(seconds=2)
"""How far ahead of its instant a run is claimed, so that its node can prepare it."""

TASKS_PER_PASS = 500
RUNS_PER_PASS = 1000
IDLE = timedelta(seconds=1)
"""How long a claim waits at most without a wake-up."""

CROWDED = timedelta(milliseconds=50)
"""After a pass that saw runs and could give none away."""

OVERDUE = timedelta(minutes=2)
"""So long after its instant a run should have started; an image that takes longer to pull is asked about in vain."""

ASK_SECONDS = 300.0
"""A node is asked anew at most so often."""

log = logging.getLogger(__name__)


class Duties:
    """One method for each duty; runtime.loop decides when."""

    def __init__(self, ledger: Ledger, hub: Hub, *, keep: timedelta, monotonic: Callable[[], float]) -> None:
        self._ledger = ledger
        self._hub = hub
        self._keep = keep
        self._monotonic = monotonic
        self._in_doubt: set[Session] = set()
        self.claim_soon: Callable[[], None] = lambda: None

    async def materialise(self) -> Again | None:
        """Writes coming ticks into the ledger."""
        request = MaterialiseRequest(horizon=HORIZON, limit=TASKS_PER_PASS)
        response = await self._ledger.materialise(request)
        if response.runs:
            self.claim_soon()
        return Again.NOW if response.more or response.tasks >= TASKS_PER_PASS else None

    async def claim(self) -> Again | None:
        """Claims due runs for the attached nodes and hands them over."""
        offers = self._hub.offers()
        if not any(_has_room(offer) for offer in offers):
            return None
        offered = {session.node.id: session for session in self._hub.sessions}
        response = await self._claimed(offers)
        read_at = self._monotonic()  # or earlier; were it said to be earlier than it was, work would start early
        for work in response.assignments:
            self._hand_over(work, offered, read_at)
        self._reconcile_doubted()
        if response.assignments:
            return Again.NOW
        if response.seen:
            return Again.after(CROWDED)
        return _until(response.next_in)

    async def _claimed(self, offers: list[NodeOffer]) -> ClaimResponse:
        offered = self._hub.sessions
        try:
            return await self._ledger.claim(ClaimRequest(offers=offers, lead=LEAD, limit=RUNS_PER_PASS))
        except BaseException:
            # It may be committed all the same, and then nobody but the ledger knows what it gave to whom.
            self._in_doubt.update(offered)
            raise

    def _reconcile_doubted(self) -> None:
        """The database answers again: a node that attaches anew says what it holds, and is sent what it lacks."""
        while self._in_doubt:
            self._in_doubt.pop().close()

    def _hand_over(self, work: NodeAssignments, offered: Mapping[str, Session], read_at: float) -> None:
        """To the session that it was claimed for; if that is gone, the node's next one was sent it with its Welcome."""
        session = self._hub.session(work.node_id)
        if session is not None and session is offered.get(work.node_id) and work.assignments is not None:
            session.assign(work.assignments, work.weights, read_at=read_at)

    async def renew(self) -> Again | None:
        """Renews the leases of the nodes that were heard, and lets go of those that were not."""
        renewals = {
            session.node.id: (session, *renewal)
            for session in self._hub.sessions
            if (renewal := session.take_heartbeat())
        }
        self._let_go_of_silent()
        if not renewals:
            return None
        leases = [lease for _, lease, _ in renewals.values()]
        response = await self._ledger.renew_leases(RenewLeasesRequest(leases=leases, lease=LEASE))
        self._reconcile_doubted()
        for node_id, (session, lease, sequence) in renewals.items():
            if node_id not in response.renewed:
                session.close()  # its lease is over, or the node is attached somewhere else: it says hello anew
                continue
            was_draining, session.draining = session.draining, node_id in response.draining
            session.renewed(lease, sequence, response.now)
            if was_draining and not session.draining:
                self.claim_soon()
        return None

    async def recall(self) -> Again | None:
        """Tells the attached nodes what to stop or give back."""
        nodes = [session.node.id for session in self._hub.sessions]
        if not nodes:
            return None
        response = await self._ledger.find_recalls(FindRecallsRequest(node_ids=nodes))
        for found in response.recalls:
            session = self._hub.session(found.node_id)
            if session is not None and found.recall is not None:
                session.recall(found.recall)
        return None

    async def ask_again(self) -> Again | None:
        """Asks nodes anew what they hold that have said nothing of runs which they should have started.

        A safety net: a message that was lost on a connection that stands would leave such a run assigned forever.
        """
        settled = [session for session in self._hub.sessions if self._monotonic() - session.began_at > ASK_SECONDS]
        if not settled:
            return None
        request = FindOverdueRequest(node_ids=[session.node.id for session in settled], grace=OVERDUE)
        silent = (await self._ledger.find_overdue(request)).node_ids
        for session in settled:
            if session.node.id in silent:
                log.warning("node %s says nothing of runs that it was given: it is asked anew", session.node.hostname)
                session.close()
        return None

    async def sweep(self) -> Again | None:
        """Settles what is over."""
        response = await self._ledger.sweep(SweepRequest())
        if response.released or response.lost:
            self.claim_soon()
        return None

    async def maintain(self) -> Again | None:
        """Makes and drops partitions."""
        await self._ledger.maintain(MaintainRequest(keep=self._keep))
        return None

    def _let_go_of_silent(self) -> None:
        for session in self._hub.sessions:
            if self._monotonic() - session.heard_at > LEASE.total_seconds():
                session.close()


def _has_room(offer: NodeOffer) -> bool:
    return offer.free_window > 0 or (offer.free is not None and offer.free.slots > 0)


def _until(next_in: timedelta | None) -> Again | None:
    """When the next pending run can be claimed, if that is before the idle period is over."""
    if next_in is None:
        return None
    wait = next_in - LEAD
    # What could be claimed already and was not waits for room: a wake-up says when there is some.
    return Again.after(wait) if timedelta(0) < wait < IDLE else None
