"""What becomes of due runs: the decision inside a claim, as values.

The store locks a batch of pending runs, asks `decide`, and writes the answer in the same transaction.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from uuid import UUID

from dts.domain.placement import Need, Refusal, Room, choose
from dts.domain.policies import Effective
from dts.pb.dts.v1 import Overlap, Reason, RunState

PLACE_AGAIN = timedelta(seconds=1)
"""When a run that no node can take is looked at again."""

GROUP_AGAIN = timedelta(milliseconds=500)
"""When a run whose group is full is looked at again."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A pending run that a claim has locked.

    overlap: the policy that applies, a request's own included.
    locked: nobody else decides on the runs of its task (and group) at this moment.
    last_node: where its previous attempt ran; another one is preferred.
    """

    run_id: UUID
    task_id: UUID
    not_before: datetime
    start_by: datetime
    overlap: Overlap
    policies: Effective
    need: Need
    slot: int | None = None
    group_slot: int | None = None
    serial: bool = False
    locked: bool = True
    from_backfill: bool = False
    last_node: str = ""


@dataclass(frozen=True, slots=True)
class Holder:
    """A live run that holds a place of its task."""

    run_id: UUID
    slot: int
    state: RunState
    recalled: bool


@dataclass(slots=True)
class Queue:
    """The runs of a task that wait for their turn; `newest` is the last that came."""

    length: int = 0
    newest: UUID | None = None


@dataclass(frozen=True, slots=True)
class Assign:
    """Give it to a node, in these places."""

    candidate: Candidate
    node_id: str
    slot: int | None
    group_slot: int | None


@dataclass(frozen=True, slots=True)
class Defer:
    """Look again at `claim_at`; None: when its turn comes."""

    run_id: UUID
    claim_at: datetime | None
    message: str
    blocked_by: UUID | None = None


@dataclass(frozen=True, slots=True)
class End:
    """It is over without having started."""

    run_id: UUID
    state: RunState
    reason: Reason
    message: str
    blocked_by: UUID | None = None


@dataclass(frozen=True, slots=True)
class MakeRoom:
    """Stop a live run, because a later one takes its place."""

    run_id: UUID
    kill: bool


@dataclass(slots=True)
class Verdicts:
    """All that a claim decided."""

    assign: list[Assign] = field(default_factory=list)
    defer: list[Defer] = field(default_factory=list)
    end: list[End] = field(default_factory=list)
    make_room: list[MakeRoom] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Situation:
    """What stands around the candidates; updated as verdicts are reached.

    lead: runs that start within this time are claimed ahead.
    """

    now: datetime
    lead: timedelta
    rooms: list[Room]
    holders: dict[UUID, list[Holder]]
    queues: dict[UUID, Queue]
    groups: dict[str, set[int]]


def decide(candidates: list[Candidate], situation: Situation) -> Verdicts:
    """One verdict for each candidate, in their order; a candidate that is not locked gets none."""
    verdicts = Verdicts()
    for candidate in candidates:
        if candidate.locked:
            _decide_one(candidate, situation, verdicts)
    return verdicts


def _decide_one(candidate: Candidate, situation: Situation, verdicts: Verdicts) -> None:
    if candidate.start_by <= situation.now:
        verdicts.end.append(expired(candidate.run_id, candidate.need, situation.rooms))
        return
    slot = _free_slot(candidate, situation.holders)
    if slot is None and candidate.overlap is not Overlap.ALLOW:
        _blocked(candidate, situation, verdicts)
        return
    group_slot = _free_group_slot(candidate, situation.groups)
    if group_slot is None and candidate.policies.group:
        message = f"group {candidate.policies.group} is full: {candidate.policies.group_limit} runs are live"
        verdicts.defer.append(Defer(candidate.run_id, situation.now + situation.lead + GROUP_AGAIN, message))
        return
    room = choose(candidate.need, situation.rooms, avoid=candidate.last_node)
    if isinstance(room, Refusal):
        verdicts.defer.append(Defer(candidate.run_id, situation.now + situation.lead + PLACE_AGAIN, room.message))
        return
    room.take(candidate.need)
    _hold(candidate, slot, group_slot, situation)
    verdicts.assign.append(Assign(candidate, room.node.id, slot, group_slot))


def expired(run_id: UUID, need: Need, rooms: list[Room]) -> End:
    """A run that could not start before its start deadline."""
    room = choose(need, rooms)
    if isinstance(room, Refusal):
        return End(
            run_id, RunState.FAILED, Reason.NO_NODE, f"no node took it before its start deadline: {room.message}"
        )
    return End(run_id, RunState.FAILED, Reason.START_DEADLINE, "it could not start before its start deadline")


def _free_slot(candidate: Candidate, holders: Mapping[UUID, list[Holder]]) -> int | None:
    """The place it holds, or the lowest free one; None if there is none or none is needed."""
    if candidate.slot is not None or candidate.overlap is Overlap.ALLOW:
        return candidate.slot
    taken = {holder.slot for holder in holders.get(candidate.task_id, ())}
    return next((slot for slot in range(candidate.policies.max_parallel) if slot not in taken), None)


def _free_group_slot(candidate: Candidate, groups: Mapping[str, set[int]]) -> int | None:
    if candidate.group_slot is not None or not candidate.policies.group:
        return candidate.group_slot
    taken = groups.get(candidate.policies.group, set())
    return next((slot for slot in range(candidate.policies.group_limit) if slot not in taken), None)


def _hold(candidate: Candidate, slot: int | None, group_slot: int | None, situation: Situation) -> None:
    """Later candidates of the batch must see the places as taken."""
    if slot is not None and candidate.slot is None:
        holder = Holder(candidate.run_id, slot, RunState.ASSIGNED, recalled=False)
        situation.holders.setdefault(candidate.task_id, []).append(holder)
    if group_slot is not None:
        situation.groups.setdefault(candidate.policies.group, set()).add(group_slot)


def _blocked(candidate: Candidate, situation: Situation, verdicts: Verdicts) -> None:
    """Earlier runs fill the task's places."""
    holders = situation.holders[candidate.task_id]
    blocker = holders[0].run_id
    if candidate.not_before > situation.now:
        # Who blocks now may be gone by then: a claim takes it up again at its instant, not ahead of it.
        verdicts.defer.append(Defer(candidate.run_id, candidate.not_before + situation.lead, "", blocker))
        return
    queue = situation.queues.setdefault(candidate.task_id, Queue())
    match candidate.overlap:
        case Overlap.QUEUE_ONE if queue.length == 0:
            _wait(candidate, blocker, queue, verdicts)
        case Overlap.QUEUE_ALL if candidate.from_backfill or queue.length < candidate.policies.queue_limit:
            _wait(candidate, blocker, queue, verdicts)
        case Overlap.QUEUE_ALL:
            message = f"{queue.length} runs wait already, as many as queue_limit allows"
            verdicts.end.append(_skip(candidate, Reason.QUEUE_FULL, message, blocker))
        case Overlap.CANCEL_OTHER | Overlap.TERMINATE_OTHER:
            _replace(candidate, holders, queue, verdicts)
        case Overlap.QUEUE_ONE:
            message = f"run {short(blocker)} was not over and another run waited already"
            verdicts.end.append(_skip(candidate, Reason.SKIPPED_OVERLAP, message, blocker))
        case _:
            message = f"run {short(blocker)} was not over"
            verdicts.end.append(_skip(candidate, Reason.SKIPPED_OVERLAP, message, blocker))


def _wait(candidate: Candidate, blocker: UUID, queue: Queue, verdicts: Verdicts) -> None:
    queue.length += 1
    queue.newest = candidate.run_id
    verdicts.defer.append(Defer(candidate.run_id, None, f"waits for run {short(blocker)} to end", blocker))


def _replace(candidate: Candidate, holders: list[Holder], queue: Queue, verdicts: Verdicts) -> None:
    """The newest run takes the place: the live ones are stopped, an earlier one that waits is given up."""
    if queue.newest is not None:
        message = f"run {short(candidate.run_id)} came before it could start"
        verdicts.end.append(End(queue.newest, RunState.SKIPPED, Reason.REPLACED, message, blocked_by=candidate.run_id))
        queue.length = 0
    kill = candidate.overlap is Overlap.TERMINATE_OTHER
    verdicts.make_room.extend(MakeRoom(holder.run_id, kill) for holder in holders if not holder.recalled)
    _wait(candidate, holders[0].run_id, queue, verdicts)


def _skip(candidate: Candidate, reason: Reason, message: str, blocker: UUID) -> End:
    return End(candidate.run_id, RunState.SKIPPED, reason, message, blocker)


def short(run_id: UUID) -> str:
    """The beginning of a run's id that tables show."""
    return run_id.hex[:8]
